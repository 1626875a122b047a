# Documents that arrive one by one: nothing unless it is switched on; then its own queues, roles and alarms.
# By the real provider, with keys that open nothing: no call leaves this machine.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  name = "tickets"
  account = {
    partition = "aws"
    region    = "us-east-1"
    id        = "123456789012"
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
  event_bus_name        = "tickets"
  pipeline_name         = "tickets-pipeline"
  reprocess_queue       = { name = "tickets-reprocess", url = "https://sqs.us-east-1.amazonaws.com/123456789012/tickets-reprocess" }
  undelivered_queue_arn = "arn:aws:sqs:us-east-1:123456789012:tickets-undelivered"
  runtime = {
    package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
    layer_arns = ["arn:aws:lambda:us-east-1:123456789012:layer:dependencies:1"]
  }
}

run "a_queue_per_priority_with_its_dead_letters" {
  command = plan

  module {
    source = "./modules/intake"
  }

  variables {
    alarm_topic = { arn = "arn:aws:sns:us-east-1:123456789012:on-call" }
    runtime = {
      package    = { s3_bucket = "in", s3_key = "config/functions.zip", source_code_hash = "hash" }
      layer_arns = []
      functions  = { pool_documents = { timeout_seconds = 60 } }
    }
    source_buckets = { lake = { prefix = "mail/" } }
  }

  assert {
    condition     = toset([for queue in values(aws_sqs_queue.intake) : queue.name]) == toset(["tickets-intake-high", "tickets-intake-normal", "tickets-intake-low"])
    error_message = "not a queue per priority"
  }

  assert {
    condition     = alltrue([for queue in concat(values(aws_sqs_queue.intake), values(aws_sqs_queue.dead_letter)) : queue.kms_master_key_id == var.stores.kms_key_arn])
    error_message = "a queue is not encrypted with the key"
  }

  assert {
    condition = alltrue([
      for name, policy in data.aws_iam_policy_document.queue :
      jsondecode(policy.json).Statement[0] == {
        Sid       = "DenyWithoutTls"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sqs:*"
        Resource  = "arn:aws:sqs:us-east-1:123456789012:${name}"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      } || jsondecode(policy.json).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } }
    ])
    error_message = "a queue may be reached without TLS"
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead_letter["low"].redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:us-east-1:123456789012:tickets-intake-low"]
    error_message = aws_sqs_queue.dead_letter["low"].redrive_allow_policy
  }

  # Six times the consumer's timeout.
  assert {
    condition     = aws_sqs_queue.intake["high"].visibility_timeout_seconds == 1800 && aws_sqs_queue.intake["low"].visibility_timeout_seconds == 360
    error_message = "visibility does not follow the consumer's timeout"
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.infer_documents.function_response_types == toset(["ReportBatchItemFailures"]) &&
      aws_lambda_event_source_mapping.infer_documents.scaling_config[0].maximum_concurrency == 10 &&
      alltrue([for mapping in values(aws_lambda_event_source_mapping.pool_documents) : mapping.scaling_config[0].maximum_concurrency == 4])
    )
    error_message = "a consumer answers for whole batches, or has no bound"
  }

  # Who may call a model, and who may start runs.
  assert {
    condition = [
      for role, policy in output.policies : role
      if contains(flatten([for statement in jsondecode(policy).Statement : statement.Action]), "bedrock:InvokeModel")
    ] == ["infer_documents"]
    error_message = "a model may be called by others than infer_documents"
  }

  assert {
    condition = toset([
      for role, policy in output.policies : role
      if contains(flatten([for statement in jsondecode(policy).Statement : statement.Action]), "states:StartExecution")
    ]) == toset(["pool_documents", "follow_pools"])
    error_message = "runs may be started by others than pool_documents and follow_pools"
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(output.policies.intake_status).Statement :
      length(setsubtract(flatten([statement.Action]), ["s3:ListBucket", "s3:GetObject", "dynamodb:GetItem", "dynamodb:Query", "sqs:GetQueueAttributes", "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"])) == 0
    ])
    error_message = "intake_status may change something"
  }

  assert {
    condition = jsondecode(output.sender_policy).Statement[0].Action == "sqs:SendMessage" && toset(jsondecode(output.sender_policy).Statement[0].Resource) == toset([
      for priority in ["high", "normal", "low"] : "arn:aws:sqs:us-east-1:123456789012:tickets-intake-${priority}"
    ])
    error_message = output.sender_policy
  }

  assert {
    condition     = strcontains(module.pool_documents.policy, "arn:aws:s3:::lake/mail/*")
    error_message = "documents of source_buckets cannot be read"
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.dead_letters) == 3 && length(aws_cloudwatch_metric_alarm.age) == 3
    error_message = "a dead letter or an old message rings nobody"
  }

  assert {
    condition     = module.follow_pools.schedule_expression == "rate(1 minute)" && module.follow_pools.undelivered_queue_arn == var.undelivered_queue_arn
    error_message = "pools are not looked at, or a failed look leaves no trace"
  }

  assert {
    condition     = aws_lambda_permission.follow_pools.source_arn == "arn:aws:events:us-east-1:123456789012:rule/tickets/tickets-intake-run-ended"
    error_message = aws_lambda_permission.follow_pools.source_arn
  }
}

run "too_short_a_life_of_messages_is_refused" {
  command = plan

  module {
    source = "./modules/intake"
  }

  variables {
    intake = { max_receive_count = 100, retention_days = 1 }
  }

  expect_failures = [aws_sqs_queue.intake]
}
