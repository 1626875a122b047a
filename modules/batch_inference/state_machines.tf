# What every state machine of this module has in common.

# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html#prevent-cross-service-confused-deputy
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
      values   = [var.account.id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.name}-*"]
    }
  }
}

data "aws_iam_policy_document" "state_machine" {
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
}

# ResultWriter writes in parts: it asks for Encrypt, too.
# https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
data "aws_iam_policy_document" "write_map_results_key" {
  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
    resources = [var.stores.kms_key_arn]
  }
}
