# Accounts for every record: conservation, manifest, report, completion event.

module "finish_run" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "finish_run"
  description     = "Accounts for every record of a run, writes manifest and report, tells the next stage"
  memory_mb       = 1024
  timeout_seconds = 900
  environment     = local.environment
  lists_buckets   = ["input", "output"]
  run_items       = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy          = data.aws_iam_policy_document.finish_run.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "finish_run" {
  statement {
    sid       = "ReadRunFilesAndJobManifests"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.output}/*/runs/*", "${local.output}/*/jobs/*"]
  }

  statement {
    sid       = "WriteManifestAndReport"
    actions   = ["s3:PutObject"]
    resources = ["${local.output}/*/runs/*/manifest.json", "${local.output}/*/runs/*/report.html"]
  }

  statement {
    sid       = "SendCompletionEvent"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }
}
