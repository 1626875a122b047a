# asl/fan_out.asl.json: one child per item batch.

locals {
  fan_out_definition = templatefile("${path.module}/../../asl/fan_out.asl.json", {
    partition       = var.account.partition
    infer_batch_arn = local.functions.infer_batch.arn
  })
}

resource "aws_sfn_state_machine" "fan_out" {
  name       = "${var.name}-fan_out"
  type       = "STANDARD"
  role_arn   = aws_iam_role.fan_out.arn
  definition = local.fan_out_definition
  tags       = var.tags

  # Execution data is kept out of the logs: a run request holds its prompt.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.fan_out.arn}:*"
  }

  tracing_configuration {
    enabled = var.runtime.tracing
  }

  # Step Functions checks at creation that the role can deliver logs.
  depends_on = [aws_iam_role_policy.fan_out, aws_iam_role_policy.fan_out_key]
}

# The prefix /aws/vendedlogs/ keeps the account's log resource policy short.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
resource "aws_cloudwatch_log_group" "fan_out" {
  name              = "/aws/vendedlogs/states/${var.name}-fan_out"
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "fan_out" {
  name                 = "${var.name}-fan_out-${var.account.region}"
  description          = "State machine fan_out of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.states_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "fan_out" {
  name   = "permissions"
  role   = aws_iam_role.fan_out.name
  policy = data.aws_iam_policy_document.fan_out.json
}

resource "aws_iam_role_policy" "fan_out_key" {
  name   = "key"
  role   = aws_iam_role.fan_out.name
  policy = data.aws_iam_policy_document.write_map_results_key.json
}

data "aws_iam_policy_document" "fan_out" {
  source_policy_documents = [data.aws_iam_policy_document.state_machine.json]

  statement {
    sid       = "InvokeFunctions"
    actions   = ["lambda:InvokeFunction"]
    resources = [local.functions.infer_batch.arn, "${local.functions.infer_batch.arn}:*"]
  }

  # A Distributed Map starts its children as executions of its own machine, labelled with the map's label.
  # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
  statement {
    sid       = "StartMapChildren"
    actions   = ["states:StartExecution"]
    resources = [local.fan_out]
  }

  statement {
    sid       = "FollowMapChildren"
    actions   = ["states:DescribeExecution", "states:StopExecution"]
    resources = ["${local.fan_out_executions}:*", "${local.fan_out_executions}/InferBatches:*"]
  }

  statement {
    sid       = "RedriveMapChildren"
    actions   = ["states:RedriveExecution"]
    resources = ["${local.fan_out_executions}/InferBatches:*"]
  }

  statement {
    sid       = "ListItems"
    actions   = ["s3:ListBucket"]
    resources = [local.input]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["*/runs/*", "*/corpus/*"]
    }
  }

  statement {
    sid       = "ReadItems"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/sync/*", "${local.input}/*/corpus/*"]
  }

  statement {
    sid       = "WriteMapResults"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/map-runs/*"]
  }
}
