# Looks at what a run has landed: what is new is shared out into groups, each small enough for one function.

module "plan_assembly" {
  source = "../function"

  name        = var.name
  account     = var.account
  stores      = var.stores
  handler     = "plan_assembly"
  description = "Plans one pass over a run's results"
  # Two hundred thousand parts of a run that went the sync way are 300 MB of groups, and reading them again takes a CPU.
  memory_mb       = 1769
  timeout_seconds = 900
  environment     = local.environment
  lists_buckets   = ["input", "output"]
  run_items       = ["GetItem", "PutItem", "Query"]
  policy          = data.aws_iam_policy_document.plan_assembly.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "plan_assembly" {
  statement {
    sid       = "ReadPlans"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/assembly/*"]
  }

  statement {
    sid       = "WritePlans"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/assembly/*"]
  }
}
