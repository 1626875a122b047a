# asl/tenant_run.asl.json, once per tenant.

locals {
  entry_names = { for tenant in local.entries : tenant => "${var.name}-run-${tenant}" }

  # 64 characters are what IAM allows: a longer name is cut and told apart by its hash.
  entry_role_names = { for tenant, name in local.entry_names : tenant => length("${name}-${var.account.region}") <= 64 ? "${name}-${var.account.region}" : "${substr("${name}-${var.account.region}", 0, 55)}-${substr(sha256("${name}-${var.account.region}"), 0, 8)}" }

  definitions = { for tenant in local.entries : tenant => templatefile("${path.module}/../../asl/tenant_run.asl.json", {
    partition    = var.account.partition
    tenant       = tenant
    pipeline_arn = var.pipeline_arn
  }) }
}

resource "aws_sfn_state_machine" "tenant_run" {
  for_each = local.definitions

  name       = local.entry_names[each.key]
  type       = "STANDARD"
  role_arn   = aws_iam_role.tenant_run[each.key].arn
  definition = each.value
  tags       = var.tags

  # Execution data is kept out of the logs: a run request holds its prompt.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.tenant_run[each.key].arn}:*"
  }

  tracing_configuration {
    enabled = var.runtime.tracing
  }

  # Step Functions checks at creation that the role can deliver logs.
  depends_on = [aws_iam_role_policy.tenant_run]
}

# The prefix /aws/vendedlogs/ keeps the account's log resource policy short.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
resource "aws_cloudwatch_log_group" "tenant_run" {
  for_each = local.entry_names

  name              = "/aws/vendedlogs/states/${each.value}"
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "tenant_run" {
  for_each = local.entry_role_names

  name                 = each.value
  description          = "Starts runs of tenant ${each.key} of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.states_trust[each.key].json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "tenant_run" {
  for_each = aws_iam_role.tenant_run

  name   = "permissions"
  role   = each.value.name
  policy = data.aws_iam_policy_document.tenant_run[each.key].json
}

# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html#prevent-cross-service-confused-deputy
data "aws_iam_policy_document" "states_trust" {
  for_each = local.entry_names

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
      values   = [var.account.id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.machines}:${each.value}"]
    }
  }
}

data "aws_iam_policy_document" "tenant_run" {
  #checkov:skip=CKV_AWS_356:Step Functions asks for its log delivery on everything, see tests/iam/stars.py
  #checkov:skip=CKV_AWS_111:Step Functions asks for its log delivery on everything, see tests/iam/stars.py

  for_each = local.entry_names

  statement {
    sid       = "StartRuns"
    actions   = ["states:StartExecution"]
    resources = [var.pipeline_arn]
  }

  statement {
    sid       = "FollowRuns"
    actions   = ["states:DescribeExecution", "states:StopExecution"]
    resources = ["${local.pipeline_executions}:${each.key}_*"]
  }

  # Step Functions follows a nested execution by a rule of its own, of this fixed name.
  # https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
  statement {
    sid     = "HearOfRuns"
    actions = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
    resources = [
      "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule",
    ]
  }

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
}
