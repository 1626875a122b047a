# What closing a run takes that is over: what is said of its end, what is stopped, its manifest, its event.

locals {
  ended = { for machine, arn in coalesce(var.closes_runs, { pipeline = "", shard_and_submit = "", fan_out = "", event_bus = "" }) : machine => {
    executions = replace(arn, ":stateMachine:", ":execution:")
    map_runs   = replace(arn, ":stateMachine:", ":mapRun:")
  } }
  closing = var.closes_runs == null ? [] : [var.closes_runs]
  input   = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output  = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"
}

data "aws_iam_policy_document" "ended_runs" {
  # Of the run and of those children that failed.
  dynamic "statement" {
    for_each = local.closing

    content {
      sid       = "ReadRuns"
      actions   = ["states:DescribeExecution", "states:ListMapRuns"]
      resources = [for machine in ["pipeline", "shard_and_submit", "fan_out"] : "${local.ended[machine].executions}:*"]
    }
  }

  dynamic "statement" {
    for_each = local.closing

    content {
      sid     = "ReadFailedChildren"
      actions = ["states:DescribeExecution"]
      resources = [
        "${local.ended.pipeline.executions}/CutCorpus:*",
        "${local.ended.shard_and_submit.executions}/SubmitShards:*",
        "${local.ended.fan_out.executions}/InferBatches:*",
      ]
    }
  }

  dynamic "statement" {
    for_each = local.closing

    content {
      sid     = "ReadMapRuns"
      actions = ["states:DescribeMapRun", "states:ListExecutions"]
      resources = [
        "${local.ended.pipeline.map_runs}/CutCorpus:*",
        "${local.ended.shard_and_submit.map_runs}/SubmitShards:*",
        "${local.ended.fan_out.map_runs}/InferBatches:*",
      ]
    }
  }

  # Step Functions stops nested executions by best effort: here is what makes sure.
  dynamic "statement" {
    for_each = local.closing

    content {
      sid       = "StopInference"
      actions   = ["states:StopExecution"]
      resources = ["${local.ended.shard_and_submit.executions}:*", "${local.ended.fan_out.executions}:*"]
    }
  }

  # Results: for what a worker has landed that died before it said so.
  dynamic "statement" {
    for_each = local.closing

    content {
      sid     = "ReadPlanAndResults"
      actions = ["s3:GetObject"]
      resources = [
        "${local.input}/*/runs/*/plan/*",
        "${local.output}/*/runs/*/results/*",
        "${local.output}/*/runs/*/manifest.json",
        "${local.output}/*/runs/*/report.html",
      ]
    }
  }

  dynamic "statement" {
    for_each = local.closing

    content {
      sid       = "WriteManifestAndReport"
      actions   = ["s3:PutObject"]
      resources = ["${local.output}/*/runs/*/manifest.json", "${local.output}/*/runs/*/report.html"]
    }
  }

  dynamic "statement" {
    for_each = local.closing

    content {
      sid       = "SendCompletionEvent"
      actions   = ["events:PutEvents"]
      resources = [statement.value.event_bus]
    }
  }
}
