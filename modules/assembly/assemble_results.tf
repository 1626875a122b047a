# asl/assemble_results.asl.json: what is made of a run's results.

locals {
  assemble_results_definition = templatefile("${path.module}/../../asl/assemble_results.asl.json", {
    partition          = var.account.partition
    pipeline_arn       = local.pipeline
    plan_assembly_arn  = local.functions.plan_assembly.arn
    sort_chunks_arn    = local.functions.sort_chunks.arn
    join_documents_arn = local.functions.join_documents.arn
    close_assembly_arn = local.functions.close_assembly.arn
    export_parquet_arn = local.functions.export_parquet.arn
    order_results_arn  = local.functions.order_results.arn
  })
}

resource "aws_sfn_state_machine" "assemble_results" {
  name       = "${var.name}-assemble_results"
  type       = "STANDARD"
  role_arn   = aws_iam_role.assemble_results.arn
  definition = local.assemble_results_definition
  tags       = var.tags

  # Execution data is kept out of the logs: a run request holds its prompt.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.assemble_results.arn}:*"
  }

  tracing_configuration {
    enabled = var.runtime.tracing
  }

  # Step Functions checks at creation that the role can deliver logs.
  depends_on = [aws_iam_role_policy.assemble_results, aws_iam_role_policy.assemble_results_key]
}

# The prefix /aws/vendedlogs/ keeps the account's log resource policy short.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
resource "aws_cloudwatch_log_group" "assemble_results" {
  name              = "/aws/vendedlogs/states/${var.name}-assemble_results"
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "assemble_results" {
  name                 = "${var.name}-assemble_results-${var.account.region}"
  description          = "State machine assemble_results of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.states_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "assemble_results" {
  name   = "permissions"
  role   = aws_iam_role.assemble_results.name
  policy = data.aws_iam_policy_document.assemble_results.json
}

resource "aws_iam_role_policy" "assemble_results_key" {
  name   = "key"
  role   = aws_iam_role.assemble_results.name
  policy = data.aws_iam_policy_document.write_map_results_key.json
}

data "aws_iam_policy_document" "assemble_results" {
  source_policy_documents = [data.aws_iam_policy_document.state_machine.json]

  statement {
    sid     = "InvokeFunctions"
    actions = ["lambda:InvokeFunction"]
    resources = [
      local.functions.plan_assembly.arn,
      "${local.functions.plan_assembly.arn}:*",
      local.functions.sort_chunks.arn,
      "${local.functions.sort_chunks.arn}:*",
      local.functions.join_documents.arn,
      "${local.functions.join_documents.arn}:*",
      local.functions.close_assembly.arn,
      "${local.functions.close_assembly.arn}:*",
      local.functions.export_parquet.arn,
      "${local.functions.export_parquet.arn}:*",
      local.functions.order_results.arn,
      "${local.functions.order_results.arn}:*",
    ]
  }

  # A Distributed Map starts its children as executions of its own machine, labelled with the map's label.
  # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
  statement {
    sid       = "StartMapChildren"
    actions   = ["states:StartExecution"]
    resources = [local.assemble_results]
  }

  statement {
    sid       = "FollowMapChildren"
    actions   = ["states:DescribeExecution", "states:StopExecution"]
    resources = concat(["${local.assemble_results_executions}:*"], local.map_children)
  }

  statement {
    sid       = "RedriveMapChildren"
    actions   = ["states:RedriveExecution"]
    resources = local.map_children
  }

  statement {
    sid       = "ReadPlans"
    actions   = ["s3:GetObject"]
    resources = ["${local.output}/*/runs/*/assembly/*"]
  }

  statement {
    sid       = "WriteMapResults"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/map-runs/*"]
  }

  # A reduction is a run of its own.
  statement {
    sid       = "StartReductions"
    actions   = ["states:StartExecution"]
    resources = [local.pipeline]
  }

  statement {
    sid       = "FollowReductions"
    actions   = ["states:DescribeExecution", "states:StopExecution"]
    resources = ["${local.pipeline_executions}:*"]
  }

  # Step Functions follows a nested execution by a rule of its own, of this fixed name.
  # https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
  statement {
    sid     = "HearOfReductions"
    actions = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
    resources = [
      "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule",
    ]
  }
}
