# The role: what every machine needs, what its functions, Distributed Maps and nested executions need, and what it reads.

resource "aws_iam_role" "this" {
  name                 = local.role_name
  description          = coalesce(var.description, "State machine ${var.machine} of ${var.name}")
  path                 = var.runtime.roles.path
  permissions_boundary = var.runtime.roles.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "this" {
  name   = "permissions"
  role   = aws_iam_role.this.name
  policy = data.aws_iam_policy_document.this.json
}

# Maps write what their children came to, with the key.
resource "aws_iam_role_policy" "key" {
  count = length(var.maps) > 0 ? 1 : 0

  name   = "key"
  role   = aws_iam_role.this.name
  policy = data.aws_iam_policy_document.key[0].json
}

# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html#prevent-cross-service-confused-deputy
data "aws_iam_policy_document" "trust" {
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
      values   = [var.account.id]
    }

    # Children of a Distributed Map run under the machine's name with the map's label.
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = [length(var.maps) > 0 ? "${local.states}:stateMachine:${var.name}-*" : local.arn]
    }
  }
}

data "aws_iam_policy_document" "this" {
  source_policy_documents = concat([data.aws_iam_policy_document.base.json], var.policy == null ? [] : [var.policy])
}

data "aws_iam_policy_document" "base" {
  #checkov:skip=CKV_AWS_356:Step Functions asks for its log delivery on everything, see tests/iam/stars.py
  #checkov:skip=CKV_AWS_111:Step Functions asks for its log delivery on everything, see tests/iam/stars.py

  # Log deliveries have no resource types.
  # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy
  statement {
    sid = "DeliverLogs"
    actions = [
      "logs:CreateLogDelivery",
      "logs:CreateLogStream",
      "logs:DeleteLogDelivery",
      "logs:DescribeLogGroups",
      "logs:DescribeResourcePolicies",
      "logs:GetLogDelivery",
      "logs:ListLogDeliveries",
      "logs:PutLogEvents",
      "logs:PutResourcePolicy",
      "logs:UpdateLogDelivery",
    ]
    resources = ["*"]
  }

  # X-Ray's actions have no resource types.
  # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html
  dynamic "statement" {
    for_each = var.runtime.tracing ? [true] : []

    content {
      sid = "SendTraces"
      actions = [
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
      ]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = length(var.functions) > 0 ? [true] : []

    content {
      sid       = "InvokeFunctions"
      actions   = ["lambda:InvokeFunction"]
      resources = flatten([for arn in var.functions : [arn, "${arn}:*"]])
    }
  }

  # A Distributed Map starts its children as executions of its own machine, labelled with the map's label.
  # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
  dynamic "statement" {
    for_each = { for sid, each in {
      StartMapChildren   = { actions = ["states:StartExecution"], resources = [local.arn] }
      FollowMapChildren  = { actions = ["states:DescribeExecution", "states:StopExecution"], resources = concat(["${local.executions}:*"], local.children) }
      RedriveMapChildren = { actions = ["states:RedriveExecution"], resources = local.children }
      WriteMapResults = {
        actions   = ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
        resources = ["arn:${var.account.partition}:s3:::${var.stores.output_bucket}/*/runs/*/map-runs/*"]
      }
    } : sid => each if length(var.maps) > 0 }

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }

  # Step Functions follows a nested execution by a rule of its own, of a fixed name.
  # https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
  dynamic "statement" {
    for_each = { for sid, each in {
      StartNested = { actions = ["states:StartExecution"], resources = var.starts[*].arn }
      FollowNested = {
        actions   = ["states:DescribeExecution", "states:StopExecution"]
        resources = [for nested in var.starts : "${replace(nested.arn, ":stateMachine:", ":execution:")}:${nested.executions}"]
      }
      HearOfNested = {
        actions   = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
        resources = ["arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"]
      }
    } : sid => each if length(var.starts) > 0 }

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }
}

locals {
  children = [for label in var.maps : "${local.executions}/${label}:*"]
}

# ResultWriter writes in parts: it asks for Encrypt, too. A policy of its own: the key's ARN may be unknown at plan.
# https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
data "aws_iam_policy_document" "key" {
  count = length(var.maps) > 0 ? 1 : 0

  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
    resources = [var.stores.kms_key_arn]
  }
}
