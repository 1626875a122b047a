# Told by EventBridge that a job has ended: re-reads the job, answers its task token.

module "resume_job" {
  source = "../function"

  name              = var.name
  account           = var.account
  stores            = var.stores
  handler           = "resume_job"
  description       = "Wakes the shard whose job has ended"
  memory_mb         = 512
  timeout_seconds   = 120
  environment       = local.environment
  run_items         = ["GetItem", "PutItem", "UpdateItem", "DeleteItem"]
  policy            = data.aws_iam_policy_document.resume_job.json
  undelivered_queue = { arn = var.undelivered_queue_arn }
  runtime           = var.runtime
  tags              = var.tags
}

data "aws_iam_policy_document" "resume_job" {
  statement {
    sid       = "ReadJobs"
    actions   = ["bedrock:GetModelInvocationJob"]
    resources = [local.jobs]
  }

  # Tokens of a Distributed Map's children belong to the labelled machine, name/label.
  statement {
    sid       = "AnswerTaskTokens"
    actions   = ["states:SendTaskSuccess", "states:SendTaskFailure"]
    resources = [local.shard_and_submit, "${local.shard_and_submit}/*"]
  }
}

# Every status that ends a job: a pattern without PartiallyCompleted and Expired would strand those jobs.
# https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-eventbridge-how-it-works.html
resource "aws_cloudwatch_event_rule" "job_ended" {
  name        = "${var.name}-job-ended"
  description = "Batch jobs of ${var.name} that have ended"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.bedrock"]
    "detail-type" = ["Batch Inference Job State Change"]
    detail = {
      status       = ["Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"]
      batchJobName = [{ prefix = "${var.name}-" }]
    }
  })
}

resource "aws_cloudwatch_event_target" "resume_job" {
  rule      = aws_cloudwatch_event_rule.job_ended.name
  target_id = "resume_job"
  arn       = module.resume_job.arn

  dead_letter_config {
    arn = var.undelivered_queue_arn
  }
}

resource "aws_lambda_permission" "resume_job" {
  statement_id  = "JobEnded"
  action        = "lambda:InvokeFunction"
  function_name = module.resume_job.name
  principal     = "events.amazonaws.com"
  source_arn    = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/${aws_cloudwatch_event_rule.job_ended.name}"
}
