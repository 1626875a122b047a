# On a schedule: runs whose failed records were settled late get their manifest written anew, and an event.

module "update_runs" {
  source = "../function"

  name        = var.name
  account     = var.account
  stores      = var.stores
  handler     = "update_runs"
  description = "Writes manifests anew after late landings"
  # It adds a whole run up, which for ten million records is a hundred thousand items.
  memory_mb         = 1769
  timeout_seconds   = 900
  environment       = local.environment
  lists_buckets     = ["input", "output"]
  run_items         = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy            = data.aws_iam_policy_document.update_runs.json
  undelivered_queue = { arn = local.undelivered_queue }
  runtime           = var.runtime
  tags              = var.tags

  schedule = {
    expression  = var.reprocessing.update_schedule
    description = "Writes manifests of ${var.name} anew after late landings"
    role        = "update_schedule"
  }
}

data "aws_iam_policy_document" "update_runs" {
  statement {
    # Results: for what a worker has landed that died before it said so. Who writes on condition of an ETag must read.
    sid     = "ReadRunsResultsAndFailures"
    actions = ["s3:GetObject"]
    resources = [
      "${local.input}/*/runs/*/plan/*",
      "${local.output}/*/runs/*/results/*",
      "${local.output}/*/runs/*/failures/*",
      "${local.output}/*/runs/*/manifest.json",
      "${local.output}/*/runs/*/report.html",
    ]
  }

  statement {
    # Parts of the failure lane: whoever settles a record takes the name from a worker that was frozen.
    sid     = "WriteManifests"
    actions = ["s3:PutObject"]
    resources = [
      "${local.output}/*/runs/*/manifest.json",
      "${local.output}/*/runs/*/report.html",
      "${local.output}/*/runs/*/results/part-reprocess-*",
    ]
  }

  statement {
    sid       = "ReadClaims"
    actions   = ["dynamodb:BatchGetItem"]
    resources = [local.ledger]
  }

  # What lands late is assembled anew.
  statement {
    sid       = "StartAssemblies"
    actions   = ["states:StartExecution"]
    resources = [local.assembly]
  }

  statement {
    sid       = "SeeWhetherAssembliesGoOn"
    actions   = ["states:DescribeExecution"]
    resources = ["${local.assembly_executions}:*"]
  }

  statement {
    sid       = "AnnounceUpdates"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }
}
