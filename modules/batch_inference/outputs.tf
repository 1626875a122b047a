output "shard_and_submit_arn" {
  description = "ARN of the state machine of shape A."
  value       = module.shard_and_submit.arn
}

output "batch_role_arns" {
  description = "ARNs of the Bedrock batch roles, made here or brought, by tenant."
  value       = local.batch_role_arns
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value = {
    submit_job      = module.submit_job.name
    resume_job      = module.resume_job.name
    collect_results = module.collect_results.name
    reconcile_jobs  = module.reconcile_jobs.name
  }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { shard_and_submit = module.shard_and_submit.definition }
}

output "key_policies" {
  description = "Rendered policies (JSON) of the batch roles about the KMS key, by tenant: unknown at plan while the key is."
  value       = { for tenant, document in data.aws_iam_policy_document.batch_key : tenant => document.json }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = merge(
    {
      submit_job         = module.submit_job.policy
      resume_job         = module.resume_job.policy
      collect_results    = module.collect_results.policy
      reconcile_jobs     = module.reconcile_jobs.policy
      reconcile_schedule = module.reconcile_jobs.schedule_policy
      shard_and_submit   = module.shard_and_submit.policy
    },
    { for tenant, document in data.aws_iam_policy_document.batch : "batch-${tenant}" => document.json },
  )
}
