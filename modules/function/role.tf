# The role: what every function needs, what several need alike (sources, models), and what this one needs.

resource "aws_iam_role" "this" {
  # Roles are global: the Region keeps pipelines of one name apart.
  name                 = "${local.name}-${var.account.region}"
  description          = "${var.handler} of ${var.name}"
  path                 = var.runtime.roles.path
  permissions_boundary = var.runtime.roles.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "this" {
  name   = "permissions"
  role   = aws_iam_role.this.name
  policy = data.aws_iam_policy_document.this.json

  lifecycle {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 characters with the key's policy.
    precondition {
      condition     = length(data.aws_iam_policy_document.this.minified_json) <= 9800
      error_message = "The role of ${var.handler} would have a policy of ${length(data.aws_iam_policy_document.this.minified_json)} characters, more than IAM takes: name fewer models, and apply the module once more for the others."
    }
  }
}

resource "aws_iam_role_policy" "key" {
  name   = "key"
  role   = aws_iam_role.this.name
  policy = data.aws_iam_policy_document.key.json
}

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "LambdaAssumes"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "this" {
  source_policy_documents = [
    data.aws_iam_policy_document.base.json,
    data.aws_iam_policy_document.sources.json,
    var.policy,
    data.aws_iam_policy_document.shared.json,
    data.aws_iam_policy_document.ended_runs.json,
    data.aws_iam_policy_document.models.json,
  ]
}

data "aws_iam_policy_document" "base" {
  statement {
    sid       = "WriteOwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${var.account.partition}:logs:${var.account.region}:${var.account.id}:log-group:/aws/lambda/${local.name}:*"]
  }

  # X-Ray's write actions have no resource types.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
  dynamic "statement" {
    for_each = var.runtime.tracing ? [true] : []

    content {
      sid       = "SendTraces"
      actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      resources = ["*"]
    }
  }

  # Describe actions have no resource types; Lambda asks for the others on interfaces that it names itself. The rights are
  # Lambda's: the function's own code may not use them.
  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-best-practice-permissions
  dynamic "statement" {
    for_each = { for sid, each in {
      AttachToVpc                   = { effect = "Allow", callers = [] }
      KeepCodeFromNetworkInterfaces = { effect = "Deny", callers = [local.planned_arn] }
    } : sid => each if var.runtime.vpc != null }

    content {
      sid    = statement.key
      effect = statement.value.effect
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]

      dynamic "condition" {
        for_each = statement.value.callers

        content {
          test     = "ArnEquals"
          variable = "lambda:SourceFunctionArn"
          values   = [condition.value]
        }
      }
    }
  }

  # Where Lambda puts an event that failed on every try.
  dynamic "statement" {
    for_each = var.undelivered_queue == null ? [] : [var.undelivered_queue]

    content {
      sid       = "KeepUndelivered"
      actions   = ["sqs:SendMessage"]
      resources = [statement.value.arn]
    }
  }
}

# A policy of its own: the key's ARN may be unknown at plan, and would hide everything that stands beside it.
data "aws_iam_policy_document" "key" {
  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.stores.kms_key_arn]
  }
}
