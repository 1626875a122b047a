module "bulk_inference" {
  source = "../.."

  name   = "summaries"
  models = [var.model]
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

locals {
  name           = "summaries-ingest"
  account        = data.aws_caller_identity.current.account_id
  knowledge_base = "arn:${data.aws_partition.current.partition}:bedrock:${data.aws_region.current.id}:${local.account}:knowledge-base/${var.knowledge_base_id}"

  definition = {
    Comment = "Has a knowledge base read what a run has landed."
    StartAt = "Start Ingestion"
    States = {
      "Start Ingestion" = {
        Type     = "Task"
        Resource = "arn:${data.aws_partition.current.partition}:states:::aws-sdk:bedrockagent:startIngestionJob"
        Parameters = {
          KnowledgeBaseId = var.knowledge_base_id
          DataSourceId    = var.data_source_id
          # Events come at least once: the same event starts one ingestion.
          "ClientToken.$" = "States.Hash($.id, 'SHA-256')"
          "Description.$" = "States.Format('Run {}', $.detail.run)"
        }
        ResultSelector = { "ingestionJobId.$" = "$.IngestionJob.IngestionJobId" }
        TimeoutSeconds = 60
        # A data source takes one ingestion at a time: the next run's waits for up to a day.
        Retry = [{
          ErrorEquals     = ["BedrockAgent.ConflictException", "BedrockAgent.ThrottlingException", "BedrockAgent.InternalServerException", "BedrockAgent.SdkClientException"]
          IntervalSeconds = 60
          BackoffRate     = 1.5
          MaxDelaySeconds = 900
          MaxAttempts     = 100
          JitterStrategy  = "FULL"
        }]
        End = true
      }
    }
  }
}

# Completion events of runs that landed something.
resource "aws_cloudwatch_event_rule" "finished" {
  name           = "summaries-finished"
  description    = "Runs that have succeeded"
  event_bus_name = module.bulk_inference.event_bus_name

  event_pattern = jsonencode(merge(jsondecode(module.bulk_inference.completion_event_pattern), {
    detail = { status = var.statuses }
  }))
}

resource "aws_cloudwatch_event_target" "ingest" {
  rule           = aws_cloudwatch_event_rule.finished.name
  event_bus_name = module.bulk_inference.event_bus_name
  arn            = aws_sfn_state_machine.ingest.arn
  role_arn       = aws_iam_role.rule.arn
}

resource "aws_sfn_state_machine" "ingest" {
  name       = local.name
  role_arn   = aws_iam_role.ingest.arn
  definition = jsonencode(local.definition)

  depends_on = [aws_iam_role_policy.ingest]
}

resource "aws_iam_role" "ingest" {
  name               = local.name
  description        = "Starts ingestions of one knowledge base"
  assume_role_policy = data.aws_iam_policy_document.states_trust.json
}

resource "aws_iam_role_policy" "ingest" {
  name   = "permissions"
  role   = aws_iam_role.ingest.name
  policy = data.aws_iam_policy_document.ingest.json
}

data "aws_iam_policy_document" "states_trust" {
  statement {
    sid     = "StepFunctionsAssumesForThisMachine"
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

# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
data "aws_iam_policy_document" "ingest" {
  statement {
    sid       = "StartIngestions"
    actions   = ["bedrock:StartIngestionJob"]
    resources = [local.knowledge_base]
  }
}

resource "aws_iam_role" "rule" {
  name               = "summaries-rule"
  description        = "Rule of finished runs"
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
    sid       = "TellOfRuns"
    actions   = ["states:StartExecution"]
    resources = [aws_sfn_state_machine.ingest.arn]
  }
}

# What the knowledge base's own role needs in order to read the results.
data "aws_iam_policy_document" "read_results" {
  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::${module.bulk_inference.output_bucket}/default/runs/*/results/*"]
  }

  statement {
    sid       = "ListResults"
    actions   = ["s3:ListBucket"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::${module.bulk_inference.output_bucket}"]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["default/runs/*"]
    }
  }

  statement {
    sid       = "DecryptResults"
    actions   = ["kms:Decrypt"]
    resources = [module.bulk_inference.kms_key_arn]
  }
}
