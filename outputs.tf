output "pipeline_arn" {
  description = "ARN of the state machine to start: an execution is a run, its name is the run's id. Whoever may start it may name any tenant: see tenants for the others."
  value       = module.control_plane.pipeline_arn
}

output "shard_and_submit_arn" {
  description = "ARN of the state machine that sends shards through batch jobs."
  value       = module.batch_inference.shard_and_submit_arn
}

output "fan_out_arn" {
  description = "ARN of the state machine that sends records through on-demand calls."
  value       = module.sync_inference.fan_out_arn
}

output "input_bucket" {
  description = "Name of the bucket that takes corpora."
  value       = module.storage.input_bucket
}

output "output_bucket" {
  description = "Name of the bucket that holds results, failures, manifests and reports."
  value       = module.storage.output_bucket
}

output "tenants" {
  description = "By tenant: state_machine_arn to start its runs with, run_prefix that this puts before the run's id, and the policies (JSON) start_runs, write_corpora, read_results and everything (the three in one) for callers who may work with this tenant alone."
  value       = module.callers.tenants
}

output "caller_policies" {
  description = "Policies (JSON) for callers who may work with every tenant: start_runs, write_corpora, read_results, everything (the three in one), and redrive, an operator's."
  value       = module.callers.policies
}

output "corpus_uri" {
  description = "Where to put a corpus: the S3 URI of tenant \"default\", or of the first tenant by name when there is no \"default\"."
  value       = "s3://${module.storage.input_bucket}/${contains(keys(var.tenants), "default") ? "default" : sort(keys(var.tenants))[0]}/corpus/"
}

output "corpus_uris" {
  description = "Where each tenant puts its corpora: S3 URIs, by tenant."
  value       = { for tenant in keys(var.tenants) : tenant => "s3://${module.storage.input_bucket}/${tenant}/corpus/" }
}

output "kms_key_arn" {
  description = "ARN of the key of buckets, tables and queues."
  value       = module.storage.kms_key_arn
}

output "ledger_table" {
  description = "Name of the table of claimed records."
  value       = module.ledger.ledger_table
}

output "runs_table" {
  description = "Name of the table of runs, shards and jobs."
  value       = module.ledger.runs_table
}

output "reprocess_queue_url" {
  description = "URL of the queue of failed records that wait for another try."
  value       = module.failure_lane.reprocess_queue.url
}

output "reprocess_queue_urls" {
  description = "URLs of the queues of failed records that wait for another try, by the priority of their runs."
  value       = module.failure_lane.reprocess_queue_urls
}

output "reprocess_dead_letter_queue_url" {
  description = "URL of the queue of records that failed on every try; a redrive sends them back."
  value       = module.failure_lane.dead_letter_queue.url
}

output "undelivered_queue_url" {
  description = "URL of the queue of events that reached no function."
  value       = module.failure_lane.undelivered_queue.url
}

output "event_bus_name" {
  description = "Name of the bus that takes completion events."
  value       = module.completion.event_bus_name
}

output "event_bus_arn" {
  description = "ARN of the bus that takes completion events."
  value       = module.completion.event_bus_arn
}

output "completion_event_pattern" {
  description = "Event pattern (JSON) that matches every completion event on the bus."
  value       = module.completion.event_pattern
}

output "update_event_pattern" {
  description = "Event pattern (JSON) that matches the events of runs whose counts and manifest have changed after their end, such as by late landings."
  value       = module.completion.update_event_pattern
}

output "function_names" {
  description = "Names of the functions, by handler."
  value       = local.function_names
}

output "batch_role_arns" {
  description = "ARNs of the roles that Bedrock assumes for batch jobs, by tenant."
  value       = module.batch_inference.batch_role_arns
}

output "intake" {
  description = "Documents that arrive one by one; null when intake.enabled is false. queue_urls and queue_arns, by priority, take messages; dead_letter_queue_urls hold those that could not be processed; sender_policy and status_reader_policy are IAM policies (JSON) for roles that send documents and ask for them (senders also need kms:GenerateDataKey and kms:Decrypt on kms_key_arn)."
  value = one([for intake in module.intake : {
    queue_urls             = intake.queue_urls
    queue_arns             = intake.queue_arns
    dead_letter_queue_urls = intake.dead_letter_queue_urls
    sender_policy          = intake.sender_policy
    status_reader_policy   = intake.status_reader_policy
  }])
}

output "deployment" {
  description = "Where this pipeline has what, as the SSM parameter /bulk-inference/{name} holds it: for tools such as bulkinfer, which also read it from terraform output -json."
  value       = module.deployment.deployment
}

output "policies" {
  description = "For review: the policy (JSON) of every role, of the buckets and of the undelivered queue, as rendered at plan. Each role may also use the KMS key (kms:Decrypt, kms:GenerateDataKey)."
  value = merge(
    module.control_plane.policies,
    module.batch_inference.policies,
    module.sync_inference.policies,
    module.assembly.policies,
    module.failure_lane.policies,
    one(module.intake[*].policies),
    module.callers.role_policies,
    { for bucket, policy in module.storage.policies : "${bucket}_bucket" => policy },
  )
}

output "package_digests" {
  description = "SHA-256 (hex) of the zips that the module puts into the input bucket, by package: functions, dependencies. Compare them with the release's. None of a package that is brought."
  value       = module.bundle.digests
}

output "understood" {
  description = "What the module has understood of its grouped inputs (JSON), in the words of config/settings.json, with intake, sizes and alarms. Terraform drops misspelt attributes without a word: one that is not here was not understood."
  value = jsonencode({
    tenants      = local.settings.tenants
    models       = local.settings.models
    defaults     = local.settings.defaults
    intake       = var.intake
    reprocessing = var.reprocessing
    functions    = var.functions
    retention    = var.retention
    logs         = var.logs
  })
}
