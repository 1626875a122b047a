# asl/shard_and_submit.asl.json: one child per shard.

locals {
  shard_and_submit_definition = templatefile("${path.module}/../../asl/shard_and_submit.asl.json", {
    partition           = var.account.partition
    submit_job_arn      = local.functions.submit_job.arn
    collect_results_arn = local.functions.collect_results.arn
    infer_batch_arn     = var.infer_batch_arn
  })
}

resource "aws_sfn_state_machine" "shard_and_submit" {
  name       = "${var.name}-shard_and_submit"
  type       = "STANDARD"
  role_arn   = aws_iam_role.shard_and_submit.arn
  definition = local.shard_and_submit_definition
  tags       = var.tags

  # Execution data is kept out of the logs: a run request holds its prompt.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.shard_and_submit.arn}:*"
  }

  tracing_configuration {
    enabled = var.runtime.tracing
  }

  # Step Functions checks at creation that the role can deliver logs.
  depends_on = [aws_iam_role_policy.shard_and_submit, aws_iam_role_policy.shard_and_submit_key]
}

# The prefix /aws/vendedlogs/ keeps the account's log resource policy short.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
resource "aws_cloudwatch_log_group" "shard_and_submit" {
  name              = "/aws/vendedlogs/states/${var.name}-shard_and_submit"
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "shard_and_submit" {
  name                 = "${var.name}-shard_and_submit-${var.account.region}"
  description          = "State machine shard_and_submit of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.states_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "shard_and_submit" {
  name   = "permissions"
  role   = aws_iam_role.shard_and_submit.name
  policy = data.aws_iam_policy_document.shard_and_submit.json
}

resource "aws_iam_role_policy" "shard_and_submit_key" {
  name   = "key"
  role   = aws_iam_role.shard_and_submit.name
  policy = data.aws_iam_policy_document.write_map_results_key.json
}

data "aws_iam_policy_document" "shard_and_submit" {
  source_policy_documents = [data.aws_iam_policy_document.state_machine.json]

  statement {
    sid     = "InvokeFunctions"
    actions = ["lambda:InvokeFunction"]
    resources = [
      local.functions.submit_job.arn,
      "${local.functions.submit_job.arn}:*",
      local.functions.collect_results.arn,
      "${local.functions.collect_results.arn}:*",
      var.infer_batch_arn,
      "${var.infer_batch_arn}:*",
    ]
  }

  # A Distributed Map starts its children as executions of its own machine, labelled with the map's label.
  # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
  statement {
    sid       = "StartMapChildren"
    actions   = ["states:StartExecution"]
    resources = [local.shard_and_submit]
  }

  statement {
    sid       = "FollowMapChildren"
    actions   = ["states:DescribeExecution", "states:StopExecution"]
    resources = ["${local.shard_and_submit_executions}:*", "${local.shard_and_submit_executions}/SubmitShards:*"]
  }

  statement {
    sid       = "RedriveMapChildren"
    actions   = ["states:RedriveExecution"]
    resources = ["${local.shard_and_submit_executions}/SubmitShards:*"]
  }

  statement {
    sid       = "ReadShardList"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*"]
  }

  statement {
    sid       = "WriteMapResults"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/map-runs/*"]
  }
}
