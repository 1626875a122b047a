module "bulk_inference" {
  source = "../.."

  name   = "nightly"
  models = [var.model]
}

data "aws_caller_identity" "current" {}

locals {
  name    = "nightly-start"
  account = data.aws_caller_identity.current.account_id

  # One run a day over the objects of that day. The schedule fires in the day's last minute, so that the date of its time
  # is the day's; then the machine waits for latecomers. No date is ever computed.
  request = {
    run    = { scope = var.dataset }
    source = { "prefix.$" = "States.Format('default/corpus/${var.dataset}/{}/', $.day)", id_field = "id" }
    model  = { id = var.model }
    prompt = { template = var.template, inference = { maxTokens = 300 } }
  }

  definition = {
    Comment = "Starts the run of the day that is ending. A second time for the same day starts nothing."
    StartAt = "Name Day"
    States = {
      "Name Day" = {
        Type       = "Pass"
        Parameters = { "day.$" = "States.ArrayGetItem(States.StringSplit($.scheduled, 'T'), 0)" }
        Next       = "Await Latecomers"
      }
      "Await Latecomers" = {
        Type    = "Wait"
        Seconds = var.grace_minutes * 60
        Next    = "Start Run"
      }
      "Start Run" = {
        Type     = "Task"
        Resource = "arn:${data.aws_partition.current.partition}:states:::states:startExecution"
        Parameters = {
          StateMachineArn = module.bulk_inference.pipeline_arn
          "Name.$"        = "States.Format('${var.dataset}-{}', $.day)"
          Input           = local.request
        }
        TimeoutSeconds = 60
        Retry = [{
          ErrorEquals     = ["StepFunctions.ThrottlingException", "StepFunctions.ExecutionLimitExceededException", "StepFunctions.SdkClientException"]
          IntervalSeconds = 5
          BackoffRate     = 2
          MaxAttempts     = 8
          JitterStrategy  = "FULL"
        }]
        # Scheduler delivers at least once: the day has its run already.
        Catch = [{ ErrorEquals = ["StepFunctions.ExecutionAlreadyExistsException"], Next = "Run Is There" }]
        End   = true
      }
      "Run Is There" = { Type = "Succeed" }
    }
  }
}

data "aws_partition" "current" {}

resource "aws_sfn_state_machine" "start" {
  name       = local.name
  role_arn   = aws_iam_role.start.arn
  definition = jsonencode(local.definition)

  depends_on = [aws_iam_role_policy.start]
}

resource "aws_iam_role" "start" {
  name               = local.name
  description        = "Starts the nightly run"
  assume_role_policy = data.aws_iam_policy_document.states_trust.json
}

resource "aws_iam_role_policy" "start" {
  name   = "permissions"
  role   = aws_iam_role.start.name
  policy = data.aws_iam_policy_document.start.json
}

data "aws_iam_policy_document" "states_trust" {
  statement {
    sid     = "StepFunctionsAssumesForThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "start" {
  statement {
    sid       = "StartRuns"
    actions   = ["states:StartExecution"]
    resources = [module.bulk_inference.pipeline_arn]
  }
}

resource "aws_scheduler_schedule" "nightly" {
  name                = local.name
  description         = "The day that is ending, UTC"
  schedule_expression = var.schedule
  state               = var.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_sfn_state_machine.start.arn
    role_arn = aws_iam_role.schedule.arn

    # The time that was scheduled, not that of a late try: 2026-11-21T23:59:00Z.
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    # A heredoc, because jsonencode would escape the angle brackets.
    input = <<-JSON
      {"scheduled": "<aws.scheduler.scheduled-time>"}
    JSON
  }

  depends_on = [aws_iam_role_policy.schedule]
}

resource "aws_iam_role" "schedule" {
  name               = "${local.name}-schedule"
  description        = "Schedule of the nightly run"
  assume_role_policy = data.aws_iam_policy_document.scheduler_trust.json
}

resource "aws_iam_role_policy" "schedule" {
  name   = "permissions"
  role   = aws_iam_role.schedule.name
  policy = data.aws_iam_policy_document.schedule.json
}

data "aws_iam_policy_document" "scheduler_trust" {
  statement {
    sid     = "SchedulerAssumesForThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "schedule" {
  statement {
    sid       = "StartNightly"
    actions   = ["states:StartExecution"]
    resources = [aws_sfn_state_machine.start.arn]
  }
}
