# Events are best effort: on a schedule, finds ended jobs with waiting tokens.

module "reconcile_jobs" {
  source = "../function"

  name              = var.name
  account           = var.account
  stores            = var.stores
  handler           = "reconcile_jobs"
  description       = "Finds ended jobs that nobody was told of, and jobs whose run is dead"
  memory_mb         = 512
  timeout_seconds   = 300
  environment       = local.environment
  lists_buckets     = ["input", "output"]
  run_items         = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy            = data.aws_iam_policy_document.reconcile_jobs.json
  undelivered_queue = { arn = var.undelivered_queue_arn }
  closes_runs = {
    pipeline         = local.pipeline
    shard_and_submit = local.shard_and_submit
    fan_out          = var.fan_out_arn
    event_bus        = local.event_bus
  }
  runtime = var.runtime
  tags    = var.tags

  schedule = {
    expression  = var.reconcile_schedule
    description = "Looks for batch jobs of ${var.name} whose completion event was lost"
    role        = "reconcile_schedule"
  }
}

data "aws_iam_policy_document" "reconcile_jobs" {
  # Jobs are stopped that outlived their run or their own time.
  statement {
    sid       = "ReadAndStopJobs"
    actions   = ["bedrock:GetModelInvocationJob", "bedrock:StopModelInvocationJob"]
    resources = [local.jobs]
  }

  # Listing jobs has no resource type.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
  statement {
    sid       = "ListJobs"
    actions   = ["bedrock:ListModelInvocationJobs"]
    resources = ["*"]
  }

  # Tokens of a Distributed Map's children belong to the labelled machine, name/label.
  statement {
    sid       = "AnswerTaskTokens"
    actions   = ["states:SendTaskSuccess", "states:SendTaskFailure"]
    resources = [local.shard_and_submit, "${local.shard_and_submit}/*"]
  }
}
