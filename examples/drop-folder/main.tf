module "bulk_inference" {
  source = "../.."

  name   = "drop"
  models = [var.model]
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

locals {
  name    = "drop-start"
  account = data.aws_caller_identity.current.account_id

  definition = {
    Comment = "Starts one run for each object that was dropped. The same object told twice starts one run."
    StartAt = "Name Run"
    States = {
      # Events come at least once, so the run's id is made of what was dropped: the same key and content, the same id.
      "Name Run" = {
        Type = "Pass"
        Parameters = {
          "key.$" = "$.detail.object.key"
          "run.$" = "States.Format('drop-{}', States.Hash(States.Format('{}#{}', $.detail.object.key, $.detail.object.etag), 'SHA-1'))"
        }
        Next = "Start Run"
      }
      "Start Run" = {
        Type     = "Task"
        Resource = "arn:${data.aws_partition.current.partition}:states:::states:startExecution"
        Parameters = {
          StateMachineArn = module.bulk_inference.pipeline_arn
          "Name.$"        = "$.run"
          Input = {
            source = { "key.$" = "$.key", id_field = "id" }
            model  = { id = var.model }
            prompt = { template = var.template, inference = { maxTokens = 300 } }
          }
        }
        TimeoutSeconds = 60
        Retry = [{
          ErrorEquals     = ["StepFunctions.ThrottlingException", "StepFunctions.ExecutionLimitExceededException", "StepFunctions.SdkClientException"]
          IntervalSeconds = 5
          BackoffRate     = 2
          MaxAttempts     = 8
          JitterStrategy  = "FULL"
        }]
        Catch = [{ ErrorEquals = ["StepFunctions.ExecutionAlreadyExistsException"], Next = "Run Is There" }]
        End   = true
      }
      "Run Is There" = { Type = "Succeed" }
    }
  }
}

# S3 tells EventBridge of every object of the bucket; the rule picks.
resource "aws_s3_bucket_notification" "input" {
  bucket      = module.bulk_inference.input_bucket
  eventbridge = true
}

resource "aws_cloudwatch_event_rule" "dropped" {
  name        = "drop-dropped"
  description = "A file of JSON lines in the drop folder"

  event_pattern = jsonencode({
    source        = ["aws.s3"]
    "detail-type" = ["Object Created"]
    detail = {
      bucket = { name = [module.bulk_inference.input_bucket] }
      object = { key = [{ wildcard = "${var.folder}*.jsonl" }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "start" {
  rule     = aws_cloudwatch_event_rule.dropped.name
  arn      = aws_sfn_state_machine.start.arn
  role_arn = aws_iam_role.rule.arn

  dead_letter_config {
    arn = aws_sqs_queue.untold.arn
  }
}

# Events that could not be told to the state machine.
resource "aws_sqs_queue" "untold" {
  name                      = "drop-untold"
  message_retention_seconds = 14 * 86400
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_policy" "untold" {
  queue_url = aws_sqs_queue.untold.url
  policy    = data.aws_iam_policy_document.untold.json
}

data "aws_iam_policy_document" "untold" {
  statement {
    sid       = "OfThisRule"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.untold.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.dropped.arn]
    }
  }
}

resource "aws_iam_role" "rule" {
  name               = "drop-rule"
  description        = "Rule of the drop folder"
  assume_role_policy = data.aws_iam_policy_document.events_trust.json
}

resource "aws_iam_role_policy" "rule" {
  name   = "permissions"
  role   = aws_iam_role.rule.name
  policy = data.aws_iam_policy_document.rule.json
}

data "aws_iam_policy_document" "events_trust" {
  statement {
    sid     = "EventBridgeAssumesForThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "rule" {
  statement {
    sid       = "TellOfDrops"
    actions   = ["states:StartExecution"]
    resources = [aws_sfn_state_machine.start.arn]
  }
}

resource "aws_sfn_state_machine" "start" {
  name       = local.name
  role_arn   = aws_iam_role.start.arn
  definition = jsonencode(local.definition)

  depends_on = [aws_iam_role_policy.start]
}

resource "aws_iam_role" "start" {
  name               = local.name
  description        = "Starts a run for each dropped file"
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

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.current.partition}:states:${data.aws_region.current.id}:${local.account}:stateMachine:${local.name}"]
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
