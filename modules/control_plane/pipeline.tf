# asl/pipeline.asl.json: the run, from request to manifest.

locals {
  pipeline_definition = templatefile("${path.module}/../../asl/pipeline.asl.json", {
    partition            = var.account.partition
    plan_run_arn         = local.functions.plan_run.arn
    cut_shards_arn       = local.functions.cut_shards.arn
    seal_shards_arn      = local.functions.seal_shards.arn
    finish_run_arn       = local.functions.finish_run.arn
    shard_and_submit_arn = var.shard_and_submit_arn
    fan_out_arn          = var.fan_out_arn
    assemble_results_arn = var.assemble_results_arn
  })
}

resource "aws_sfn_state_machine" "pipeline" {
  name       = "${var.name}-pipeline"
  type       = "STANDARD"
  role_arn   = aws_iam_role.pipeline.arn
  definition = local.pipeline_definition
  tags       = var.tags

  # Execution data is kept out of the logs: a run request holds its prompt.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.pipeline.arn}:*"
  }

  tracing_configuration {
    enabled = var.runtime.tracing
  }

  # Step Functions checks at creation that the role can deliver logs.
  depends_on = [aws_iam_role_policy.pipeline, aws_iam_role_policy.pipeline_key]
}

# The prefix /aws/vendedlogs/ keeps the account's log resource policy short.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
resource "aws_cloudwatch_log_group" "pipeline" {
  name              = "/aws/vendedlogs/states/${var.name}-pipeline"
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "pipeline" {
  name                 = "${var.name}-pipeline-${var.account.region}"
  description          = "State machine pipeline of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.states_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "pipeline" {
  name   = "permissions"
  role   = aws_iam_role.pipeline.name
  policy = data.aws_iam_policy_document.pipeline.json
}

resource "aws_iam_role_policy" "pipeline_key" {
  name   = "key"
  role   = aws_iam_role.pipeline.name
  policy = data.aws_iam_policy_document.write_map_results_key.json
}

data "aws_iam_policy_document" "pipeline" {
  source_policy_documents = [data.aws_iam_policy_document.state_machine.json]

  statement {
    sid     = "InvokeFunctions"
    actions = ["lambda:InvokeFunction"]
    resources = [
      local.functions.plan_run.arn,
      "${local.functions.plan_run.arn}:*",
      local.functions.cut_shards.arn,
      "${local.functions.cut_shards.arn}:*",
      local.functions.seal_shards.arn,
      "${local.functions.seal_shards.arn}:*",
      local.functions.finish_run.arn,
      "${local.functions.finish_run.arn}:*",
    ]
  }

  # A Distributed Map starts its children as executions of its own machine, labelled with the map's label.
  # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
  statement {
    sid       = "StartMapChildren"
    actions   = ["states:StartExecution"]
    resources = [local.pipeline]
  }

  statement {
    sid       = "FollowMapChildren"
    actions   = ["states:DescribeExecution", "states:StopExecution"]
    resources = ["${local.pipeline_executions}:*", "${local.pipeline_executions}/CutCorpus:*"]
  }

  statement {
    sid       = "RedriveMapChildren"
    actions   = ["states:RedriveExecution"]
    resources = ["${local.pipeline_executions}/CutCorpus:*"]
  }

  statement {
    sid       = "ReadCutPlan"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*"]
  }

  statement {
    sid       = "StartInference"
    actions   = ["states:StartExecution"]
    resources = [var.shard_and_submit_arn, var.fan_out_arn, var.assemble_results_arn]
  }

  statement {
    sid     = "FollowInference"
    actions = ["states:DescribeExecution", "states:StopExecution"]
    resources = [
      "${replace(var.shard_and_submit_arn, ":stateMachine:", ":execution:")}:*",
      "${replace(var.fan_out_arn, ":stateMachine:", ":execution:")}:*",
      "${replace(var.assemble_results_arn, ":stateMachine:", ":execution:")}:*",
    ]
  }

  # Step Functions follows a nested execution by a rule of its own, of this fixed name.
  # https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
  statement {
    sid     = "HearOfInference"
    actions = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
    resources = [
      "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule",
    ]
  }

  statement {
    sid       = "WriteMapResults"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/map-runs/*"]
  }
}
