# Documents that arrive one by one: a queue per priority with its consumer, pools that become runs, a status function.

locals {
  queue_arns = "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}"

  queues = { for priority in ["high", "normal", "low"] : priority => {
    name             = "${var.name}-intake-${priority}"
    arn              = "${local.queue_arns}:${var.name}-intake-${priority}"
    dead_letter_name = "${var.name}-intake-${priority}-dead-letter"
    dead_letter_arn  = "${local.queue_arns}:${var.name}-intake-${priority}-dead-letter"
    consumer         = priority == "high" ? "infer_documents" : "pool_documents"
  } }
  consumer_timeouts = {
    infer_documents = module.infer_documents.size.timeout_seconds
    pool_documents  = module.pool_documents.size.timeout_seconds
  }
  all_queues = flatten([for queue in values(local.queues) : [queue.arn, queue.dead_letter_arn]])

  # One per priority: see modules/failure_lane/queues.tf.
  reprocess_queues    = [for suffix in ["", "-high", "-low"] : "${local.queue_arns}:${var.reprocess_queue.name}${suffix}"]
  pipeline            = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.pipeline_name}"
  pipeline_executions = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.pipeline_name}"
  event_bus           = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${var.event_bus_name}"

  # ARNs from names, which are known at plan: so are the policies.
  input  = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"
  ledger = "arn:${var.account.partition}:dynamodb:${var.account.region}:${var.account.id}:table/${var.stores.ledger_table}"
  runs   = "arn:${var.account.partition}:dynamodb:${var.account.region}:${var.account.id}:table/${var.stores.runs_table}"

  environment = {
    REPROCESS_QUEUE_URL = var.reprocess_queue.url
    EVENT_BUS_NAME      = var.event_bus_name
    # The functions make each queue's URL from it: -high, -normal or -low, and -dead-letter behind that.
    INTAKE_QUEUES_URL   = trimsuffix(aws_sqs_queue.intake["high"].url, "-high")
    INTAKE_POOLS        = jsonencode({ for priority in ["normal", "low"] : priority => var.intake[priority] })
    INTAKE_MAX_RECEIVES = tostring(var.intake.max_receive_count)
    PIPELINE_ARN        = local.pipeline
  }
}

# Shared by the consumers: stored prompts, and what messages may name in the input bucket.
data "aws_iam_policy_document" "read_documents" {
  statement {
    sid       = "ReadPromptsAndDocuments"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/config/settings.json", "${local.input}/*/prompts/*", "${local.input}/*/corpus/*"]
  }
}
