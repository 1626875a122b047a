# Each capability by itself: how events, schedules and queues reach functions, how things are named and kept.
# The local AWS does not ask for Lambda's resource policies: a missing one shows here.
# By the real provider, with keys that open nothing: no call leaves this machine.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

# What most capabilities are told; each run adds its own.
variables {
  name = "tickets"
  account = {
    partition  = "aws"
    dns_suffix = "amazonaws.com"
    region     = "us-east-1"
    id         = "123456789012"
  }
  stores = {
    input_bucket  = "in"
    output_bucket = "out"
    ledger_table  = "tickets-ledger"
    runs_table    = "tickets-runs"
    kms_key_arn   = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }
  models = {
    direct_arns      = ["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0"]
    profile_arns     = []
    destination_arns = []
  }
  event_bus_name = "tickets"
  pipeline_name  = "tickets-pipeline"
  assembly_name  = "tickets-assemble_results"
  runtime = {
    package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
    layer_arns = ["arn:aws:lambda:us-east-1:123456789012:layer:dependencies:1"]
  }
  reprocess_queue       = { name = "tickets-reprocess", url = "https://sqs.us-east-1.amazonaws.com/123456789012/tickets-reprocess" }
  undelivered_queue_arn = "arn:aws:sqs:us-east-1:123456789012:tickets-undelivered"
}

run "job_events_reach_resume_job" {
  command = plan

  module {
    source = "./modules/batch_inference"
  }

  override_resource {
    target = module.shard_and_submit.aws_sfn_state_machine.this
  }

  variables {
    tenants         = { default = {} }
    infer_batch_arn = "arn:aws:lambda:us-east-1:123456789012:function:tickets-infer_batch"
    fan_out_arn     = "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-fan_out"
    pipeline_name   = "tickets-pipeline"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.job_ended.event_pattern) == {
      source        = ["aws.bedrock"]
      "detail-type" = ["Batch Inference Job State Change"]
      detail = {
        status       = ["Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"]
        batchJobName = [{ prefix = "tickets-" }]
      }
    }
    error_message = aws_cloudwatch_event_rule.job_ended.event_pattern
  }

  assert {
    condition     = aws_cloudwatch_event_target.resume_job.rule == "tickets-job-ended" && aws_cloudwatch_event_target.resume_job.dead_letter_config[0].arn == var.undelivered_queue_arn
    error_message = "the rule does not reach resume_job, or drops what it cannot deliver"
  }

  assert {
    condition     = aws_lambda_permission.resume_job.function_name == "tickets-resume_job" && aws_lambda_permission.resume_job.principal == "events.amazonaws.com" && aws_lambda_permission.resume_job.source_arn == "arn:aws:events:us-east-1:123456789012:rule/tickets-job-ended"
    error_message = "the rule may not invoke resume_job"
  }

  assert {
    condition     = module.reconcile_jobs.schedule_expression == "rate(5 minutes)"
    error_message = "reconcile_jobs is not scheduled"
  }

  assert {
    condition     = contains(flatten([for statement in jsondecode(module.reconcile_jobs.schedule_policy).Statement : statement.Resource]), "arn:aws:lambda:us-east-1:123456789012:function:tickets-reconcile_jobs")
    error_message = "the schedule may not invoke reconcile_jobs"
  }

  assert {
    condition = alltrue([
      for function in [module.resume_job, module.reconcile_jobs] : function.undelivered_queue_arn == var.undelivered_queue_arn
    ])
    error_message = "an asynchronous invocation that fails on every try leaves no trace"
  }

  assert {
    condition = jsondecode(data.aws_iam_policy_document.batch_trust.json).Statement[0].Condition == {
      StringEquals = { "aws:SourceAccount" = "123456789012" }
      ArnEquals    = { "aws:SourceArn" = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*" }
    }
    error_message = data.aws_iam_policy_document.batch_trust.json
  }

  assert {
    condition     = module.collect_results.size.memory_mb == 1769 && module.submit_job.size.timeout_seconds == 900
    error_message = "sizes are not the defaults"
  }
}

run "sizes_network_and_boundary_can_be_said" {
  command = plan

  module {
    source = "./modules/batch_inference"
  }

  override_resource {
    target = module.shard_and_submit.aws_sfn_state_machine.this
  }

  variables {
    tenants         = { default = { batch_role = { arn = "arn:aws:iam::123456789012:role/mine" } } }
    infer_batch_arn = "arn:aws:lambda:us-east-1:123456789012:function:tickets-infer_batch"
    fan_out_arn     = "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-fan_out"
    pipeline_name   = "tickets-pipeline"
    runtime = {
      package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
      layer_arns = []
      tracing    = false
      roles      = { path = "/pipelines/", permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary" }
      vpc        = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
      functions  = { submit_job = { memory_mb = 2048, reserved_concurrency = 7 } }
    }
  }

  assert {
    condition     = module.submit_job.size == { memory_mb = 2048, reserved_concurrency = 7, timeout_seconds = 900 }
    error_message = "a size that was given is not used, or one that was not given is lost"
  }

  assert {
    condition     = contains([for statement in jsondecode(module.submit_job.policy).Statement : statement.Sid], "AttachToVpc")
    error_message = "no right to attach to the network"
  }

  assert {
    condition     = length(aws_iam_role.batch) == 0 && output.batch_role_arns == { default = "arn:aws:iam::123456789012:role/mine" }
    error_message = "a batch role is made beside the one that was brought"
  }

  assert {
    condition     = !contains([for statement in jsondecode(module.submit_job.policy).Statement : statement.Sid], "SendTraces")
    error_message = "traces are off, yet asked for"
  }
}

run "broken_runs_reach_stop_run" {
  command = plan

  module {
    source = "./modules/control_plane"
  }

  override_resource {
    target = module.pipeline.aws_sfn_state_machine.this
  }

  variables {
    settings             = "{}"
    shard_and_submit_arn = "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-shard_and_submit"
    fan_out_arn          = "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-fan_out"
    assemble_results_arn = "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-assemble_results"
    source_buckets       = { archive = { prefix = "mail/", kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/archive" } }
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.run_broke_off.event_pattern).detail == {
      status          = ["FAILED", "TIMED_OUT", "ABORTED", "RUNNING"]
      stateMachineArn = ["arn:aws:states:us-east-1:123456789012:stateMachine:tickets-pipeline"]
    }
    error_message = aws_cloudwatch_event_rule.run_broke_off.event_pattern
  }

  assert {
    condition     = aws_lambda_permission.stop_run.function_name == "tickets-stop_run" && aws_lambda_permission.stop_run.principal == "events.amazonaws.com" && aws_lambda_permission.stop_run.source_arn == "arn:aws:events:us-east-1:123456789012:rule/tickets-run-broke-off"
    error_message = "the rule may not invoke stop_run"
  }

  assert {
    condition     = aws_cloudwatch_event_target.stop_run.dead_letter_config[0].arn == var.undelivered_queue_arn && module.stop_run.undelivered_queue_arn == var.undelivered_queue_arn
    error_message = "an undelivered event leaves no trace"
  }

  # What modules/function tells every function as SETTINGS_KEY.
  assert {
    condition     = aws_s3_object.settings.key == "config/settings.json"
    error_message = "settings lie elsewhere than plan_run looks"
  }

  assert {
    condition = alltrue([
      for policy in [module.plan_run.policy, module.cut_shards.policy] :
      contains(flatten([for statement in jsondecode(policy).Statement : statement.Resource if statement.Sid == "ReadSources"]), "arn:aws:s3:::archive/mail/*") &&
      contains(flatten([for statement in jsondecode(policy).Statement : statement.Resource if statement.Sid == "DecryptSources"]), "arn:aws:kms:us-east-1:123456789012:key/archive")
    ])
    error_message = "a source bucket cannot be read"
  }
}

run "failed_records_wait_long_enough_and_end_in_a_dead_letter_queue" {
  command = plan

  module {
    source = "./modules/failure_lane"
  }

  assert {
    condition     = alltrue([for queue in values(aws_sqs_queue.reprocess) : queue.visibility_timeout_seconds >= 6 * module.reprocess_records.size.timeout_seconds]) && module.reprocess_records.size.timeout_seconds > 300 / 0.75
    error_message = "a message may come back while it is worked on"
  }

  assert {
    condition     = alltrue([for queue in values(aws_sqs_queue.reprocess) : aws_sqs_queue.dead_letter.message_retention_seconds > queue.message_retention_seconds])
    error_message = "a dead letter, which keeps its age, may die on arrival"
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead_letter.redrive_allow_policy) == { redrivePermission = "byQueue", sourceQueueArns = [for suffix in ["-high", "-low", ""] : "arn:aws:sqs:us-east-1:123456789012:tickets-reprocess${suffix}"] }
    error_message = aws_sqs_queue.dead_letter.redrive_allow_policy
  }

  assert {
    condition     = alltrue([for mapping in values(aws_lambda_event_source_mapping.reprocess_records) : contains(mapping.function_response_types, "ReportBatchItemFailures")])
    error_message = "one failed record would bring back its whole batch"
  }

  assert {
    condition     = alltrue([for queue in concat(values(aws_sqs_queue.reprocess), [aws_sqs_queue.dead_letter]) : queue.kms_master_key_id == var.stores.kms_key_arn]) && aws_sqs_queue.undelivered.sqs_managed_sse_enabled
    error_message = "a queue is not encrypted"
  }

  assert {
    condition = alltrue([
      for document in concat(values(data.aws_iam_policy_document.failed_records), [data.aws_iam_policy_document.undelivered]) :
      contains([for statement in jsondecode(document.json).Statement : statement.Sid], "DenyWithoutTls")
    ])
    error_message = "a queue takes plain http"
  }

  assert {
    condition     = jsondecode(data.aws_iam_policy_document.undelivered.json).Statement[0].Condition == { ArnLike = { "aws:SourceArn" = "arn:aws:events:us-east-1:123456789012:rule/tickets-*" } }
    error_message = data.aws_iam_policy_document.undelivered.json
  }

  # The functions make the names of high and low from that of normal.
  assert {
    condition     = { for priority, queue in aws_sqs_queue.reprocess : priority => queue.name } == { high = "tickets-reprocess-high", normal = "tickets-reprocess", low = "tickets-reprocess-low" }
    error_message = "the queues of the priorities are named otherwise than priorities.py has it"
  }

  assert {
    condition     = { for priority, mapping in aws_lambda_event_source_mapping.reprocess_records : priority => mapping.scaling_config[0].maximum_concurrency } == { high = 5, normal = 5, low = 2 }
    error_message = "a priority without consumers of its own may be stuck behind another"
  }

  assert {
    condition     = module.update_runs.schedule_expression == "rate(1 minute)" && endswith(module.update_runs.undelivered_queue_arn, ":tickets-undelivered")
    error_message = "late landings reach no manifest, or a look that fails is lost"
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.dead_letters) == 0 && length(aws_cloudwatch_metric_alarm.reprocess_age) == 0
    error_message = "alarms without a topic"
  }
}

run "dead_letters_ring_where_a_topic_is_given" {
  command = plan

  module {
    source = "./modules/failure_lane"
  }

  variables {
    alarm_topic = { arn = "arn:aws:sns:us-east-1:123456789012:on-call" }
  }

  assert {
    condition = alltrue([
      for alarm in concat(aws_cloudwatch_metric_alarm.dead_letters, aws_cloudwatch_metric_alarm.old_dead_letters, values(aws_cloudwatch_metric_alarm.reprocess_age)) :
      contains(alarm.alarm_actions, var.alarm_topic.arn) && alarm.namespace == "AWS/SQS" && alarm.treat_missing_data == "notBreaching"
    ])
    error_message = "an alarm that tells nobody, or that rings for a queue without messages"
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.troubles), aws_cloudwatch_metric_alarm.reconciliation_throttled) :
      contains(alarm.alarm_actions, var.alarm_topic.arn) && alarm.namespace == "BulkInference" && startswith(alarm.dimensions.service, "tickets-") && alarm.threshold == 0 && alarm.treat_missing_data == "notBreaching"
    ]) && length(aws_cloudwatch_metric_alarm.troubles) == 3
    error_message = "abandoned, inconsistent and incomplete runs, or throttled reconciliation, ring nowhere"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.dead_letters[0].dimensions.QueueName == "tickets-reprocess-dead-letter" && aws_cloudwatch_metric_alarm.dead_letters[0].threshold == 0
    error_message = "the first dead letter does not ring"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.old_dead_letters[0].threshold < aws_sqs_queue.dead_letter.message_retention_seconds
    error_message = "old dead letters ring after SQS has deleted them"
  }
}

run "tries_that_outlast_the_queue_are_refused" {
  command = plan

  module {
    source = "./modules/failure_lane"
  }

  variables {
    runtime = {
      package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
      layer_arns = []
      functions  = { reprocess_records = { timeout_seconds = 900 } }
    }
    reprocessing = { max_receive_count = 60, retention_days = 7 }
  }

  expect_failures = [aws_sqs_queue.reprocess]
}

run "fewer_workers_than_the_queues_may_call_are_refused" {
  command = plan

  module {
    source = "./modules/failure_lane"
  }

  variables {
    runtime = {
      package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
      layer_arns = []
      functions  = { reprocess_records = { reserved_concurrency = 11 } }
    }
  }

  expect_failures = [aws_sqs_queue.reprocess]
}

run "buckets_are_closed_versioned_and_encrypted" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    account = {
      partition  = "aws"
      dns_suffix = "amazonaws.com"
      region     = "us-east-1"
      id         = "123456789012"
    }
    tenants   = ["acme", "globex"]
    retention = { run_files_days = 30, raw_output_days = 20, results_days = 0, noncurrent_version_days = 10, incomplete_upload_days = 7 }
  }

  assert {
    condition     = toset(keys(aws_s3_bucket.this)) == toset(["input", "output"]) && alltrue([for bucket in values(aws_s3_bucket.this) : !bucket.force_destroy])
    error_message = "buckets are missing, or easy to lose"
  }

  assert {
    condition     = length(aws_s3_bucket_public_access_block.this) == 2 && alltrue(flatten([for block in values(aws_s3_bucket_public_access_block.this) : [block.block_public_acls, block.block_public_policy, block.ignore_public_acls, block.restrict_public_buckets]]))
    error_message = "a bucket may become public"
  }

  assert {
    condition     = length(aws_s3_bucket_versioning.this) == 2 && alltrue([for versioning in values(aws_s3_bucket_versioning.this) : versioning.versioning_configuration[0].status == "Enabled"])
    error_message = "a bucket is not versioned"
  }

  assert {
    condition = length(aws_s3_bucket_server_side_encryption_configuration.this) == 2 && alltrue([
      for encryption in values(aws_s3_bucket_server_side_encryption_configuration.this) :
      alltrue([for rule in encryption.rule : rule.bucket_key_enabled && rule.apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"])
    ])
    error_message = "a bucket is not encrypted with the key"
  }

  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_kms_key.this[0].deletion_window_in_days == 30
    error_message = "the key does not rotate, or is gone too soon"
  }

  assert {
    condition = { for bucket, lifecycle in aws_s3_bucket_lifecycle_configuration.this : bucket => { for rule in lifecycle.rule : rule.id => "${try(rule.filter[0].prefix, "")} ${try(rule.expiration[0].days, 0)}" if rule.id != "remains" } } == {
      input  = { run-files-acme = "acme/runs/ 30", run-files-globex = "globex/runs/ 30", intake-acme = "acme/intake/ 30", intake-globex = "globex/intake/ 30" }
      output = { raw-output-acme = "acme/jobs/ 20", raw-output-globex = "globex/jobs/ 20" }
    }
    error_message = "lifecycle rules differ"
  }

  assert {
    condition = alltrue([
      for lifecycle in values(aws_s3_bucket_lifecycle_configuration.this) :
      lifecycle.rule[0].noncurrent_version_expiration[0].noncurrent_days == 10 && lifecycle.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 7
    ])
    error_message = "old versions or broken uploads stay for ever"
  }
}

run "what_is_brought_is_not_made" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    account = {
      partition  = "aws"
      dns_suffix = "amazonaws.com"
      region     = "us-east-1"
      id         = "123456789012"
    }
    tenants       = ["default"]
    retention     = { run_files_days = 30, raw_output_days = 20, results_days = 0, noncurrent_version_days = 10, incomplete_upload_days = 7 }
    input_bucket  = { name = "my-input" }
    output_bucket = { name = "my-output" }
    kms_key       = { arn = "arn:aws:kms:us-east-1:123456789012:key/mine" }
  }

  assert {
    condition     = length(aws_s3_bucket.this) + length(aws_s3_bucket_policy.this) + length(aws_s3_bucket_lifecycle_configuration.this) + length(aws_kms_key.this) == 0
    error_message = "something is made beside what was brought"
  }

  assert {
    condition     = output.input_bucket == "my-input" && output.output_bucket == "my-output" && output.kms_key_arn == "arn:aws:kms:us-east-1:123456789012:key/mine" && output.log_kms_key_arn == null
    error_message = "what was brought is not used"
  }
}

run "tables_are_protected" {
  command = plan

  module {
    source = "./modules/ledger"
  }

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/mine"
  }

  assert {
    condition = alltrue([
      for table in values(aws_dynamodb_table.this) :
      table.deletion_protection_enabled && table.point_in_time_recovery[0].enabled && table.ttl[0].attribute_name == "expires_at" && table.ttl[0].enabled &&
      table.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    ])
    error_message = "a table is not protected, recoverable, expiring or encrypted"
  }

  assert {
    condition     = aws_dynamodb_table.this["ledger"].hash_key == "pk" && aws_dynamodb_table.this["runs"].hash_key == "pk" && aws_dynamodb_table.this["runs"].range_key == "sk"
    error_message = "keys differ from what the functions write"
  }
}

run "more_models_than_one_policy_holds_are_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    handler         = "infer_batch"
    description     = "Infers"
    memory_mb       = 1024
    timeout_seconds = 900
    policy          = "{\"Version\": \"2012-10-17\", \"Statement\": []}"
    models = {
      direct_arns = [for n in range(120) : "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v${n}:0:longest-of-all-the-names"]
    }
  }

  expect_failures = [aws_iam_role_policy.this]
}

# Jobs in many subnets, whose role names each of them: so it is full before that of submit_job.
run "more_models_than_a_job_may_name_are_refused" {
  command = plan

  module {
    source = "./modules/batch_inference"
  }

  override_resource {
    target = module.shard_and_submit.aws_sfn_state_machine.this
  }

  variables {
    tenants         = { acme = {} }
    infer_batch_arn = "arn:aws:lambda:us-east-1:123456789012:function:tickets-infer_batch"
    fan_out_arn     = "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-fan_out"
    runtime = {
      package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
      layer_arns = []
      vpc        = { subnet_ids = [for n in range(16) : "subnet-0a1b2c3d4e5f60${n}"], security_group_ids = ["sg-1"] }
    }
    models = {
      direct_arns      = [for n in range(55) : "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v${n}:0:longest-of-all-the-names"]
      profile_arns     = []
      destination_arns = []
    }
  }

  expect_failures = [aws_iam_role_policy.batch]
}

run "tables_may_be_capped_or_provisioned" {
  command = plan

  module {
    source = "./modules/ledger"
  }

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/mine"
    tables      = { ledger = { max_write_units = 8000 }, runs = { read_units = 20, write_units = 40 } }
  }

  assert {
    condition     = aws_dynamodb_table.this["ledger"].billing_mode == "PAY_PER_REQUEST" && aws_dynamodb_table.this["ledger"].on_demand_throughput[0].max_write_request_units == 8000 && aws_dynamodb_table.this["ledger"].on_demand_throughput[0].max_read_request_units == -1
    error_message = "the ledger is not on demand, capped for writes alone"
  }

  assert {
    condition     = aws_dynamodb_table.this["runs"].billing_mode == "PROVISIONED" && aws_dynamodb_table.this["runs"].read_capacity == 20 && aws_dynamodb_table.this["runs"].write_capacity == 40 && length(aws_dynamodb_table.this["runs"].on_demand_throughput) == 0
    error_message = "the runs table is not provisioned as asked"
  }
}

run "a_function_is_made_whole" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    handler           = "submit_job"
    description       = "Creates jobs"
    memory_mb         = 512
    timeout_seconds   = 900
    policy            = "{\"Version\": \"2012-10-17\", \"Statement\": []}"
    environment       = { EVENT_BUS_NAME = "tickets" }
    undelivered_queue = { arn = "arn:aws:sqs:us-east-1:123456789012:tickets-undelivered" }
    schedule          = { expression = "rate(5 minutes)", description = "Looks", role = "submit_schedule" }
    runtime = {
      package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
      layer_arns = []
      roles      = { path = "/pipelines/", permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary" }
      vpc        = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    }
  }

  assert {
    condition = aws_lambda_function.this.environment[0].variables == tomap({
      NAME                         = "tickets"
      INPUT_BUCKET                 = "in"
      OUTPUT_BUCKET                = "out"
      LEDGER_TABLE                 = "tickets-ledger"
      RUNS_TABLE                   = "tickets-runs"
      EVENT_BUS_NAME               = "tickets"
      SETTINGS_KEY                 = "config/settings.json"
      POWERTOOLS_SERVICE_NAME      = "tickets-submit_job"
      POWERTOOLS_METRICS_NAMESPACE = "BulkInference"
      POWERTOOLS_LOG_LEVEL         = "INFO"
    })
    error_message = jsonencode(aws_lambda_function.this.environment[0].variables)
  }

  assert {
    condition     = aws_lambda_function.this.vpc_config[0].subnet_ids == toset(["subnet-1"]) && aws_lambda_function.this.tracing_config[0].mode == "Active"
    error_message = "no network, or no traces"
  }

  assert {
    condition     = aws_lambda_function.this.dead_letter_config[0].target_arn == var.undelivered_queue.arn && aws_scheduler_schedule.this[0].target[0].dead_letter_config[0].arn == var.undelivered_queue.arn
    error_message = "an invocation or a schedule that fails leaves no trace"
  }

  assert {
    condition = alltrue([
      for role in [aws_iam_role.this, aws_iam_role.schedule[0]] :
      role.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary" && role.path == "/pipelines/"
    ])
    error_message = "a role without boundary or path"
  }

  assert {
    condition     = contains(flatten([for statement in jsondecode(data.aws_iam_policy_document.schedule[0].json).Statement : statement.Resource]), output.planned_arn)
    error_message = "the schedule may not invoke the function"
  }
}

run "a_function_without_network_traces_and_clock" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    handler         = "submit_job"
    description     = "Creates jobs"
    memory_mb       = 512
    timeout_seconds = 900
    models          = {}
    policy          = "{\"Version\": \"2012-10-17\", \"Statement\": []}"
    runtime = {
      package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
      layer_arns = []
      tracing    = false
    }
  }

  assert {
    condition     = aws_lambda_function.this.tracing_config[0].mode == "PassThrough" && aws_lambda_function.this.environment[0].variables["POWERTOOLS_TRACE_DISABLED"] == "true"
    error_message = "traces are off, yet asked for"
  }

  assert {
    condition     = length(aws_scheduler_schedule.this) == 0 && length(aws_lambda_function.this.dead_letter_config) == 0 && [for statement in jsondecode(output.policy).Statement : statement.Sid] == ["WriteOwnLogs"]
    error_message = output.policy
  }
}

run "a_state_machine_is_made_whole" {
  command = plan

  module {
    source = "./modules/state_machine"
  }

  override_resource {
    target = aws_sfn_state_machine.this
  }

  variables {
    machine    = "fan_out"
    definition = "{}"
    functions  = ["arn:aws:lambda:us-east-1:123456789012:function:tickets-infer_batch"]
    maps       = ["InferBatches"]
    runtime    = { roles = { path = "/pipelines/", permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary" } }
  }

  assert {
    condition     = aws_sfn_state_machine.this.logging_configuration[0].level == "ERROR" && !aws_sfn_state_machine.this.logging_configuration[0].include_execution_data && aws_sfn_state_machine.this.tracing_configuration[0].enabled
    error_message = "logs are off or hold execution data, or traces are off"
  }

  assert {
    condition     = aws_iam_role.this.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary" && aws_iam_role.this.path == "/pipelines/"
    error_message = "a role without boundary or path"
  }

  assert {
    condition     = length(aws_iam_role_policy.key) == 1 && !strcontains(output.policy, "StepFunctionsGetEventsForStepFunctionsExecutionRule")
    error_message = "a machine with a map needs the key, and one that starts none needs no rule"
  }
}
