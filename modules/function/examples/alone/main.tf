# One function of the bundle, beside the pipeline's parts that the failure lane's example makes.
module "beneath" {
  source = "../../../failure_lane/examples/alone"
}

locals {
  parts = module.beneath.parts
}

module "intake_status" {
  source = "../.."

  name            = local.parts.name
  account         = local.parts.account
  stores          = local.parts.stores
  handler         = "intake_status"
  description     = "Tells what has become of documents that came one by one"
  memory_mb       = 512
  timeout_seconds = 30
  policy          = data.aws_iam_policy_document.intake_status.json
  lists_buckets   = ["input"]
  run_items       = ["GetItem", "Query"]
  runtime         = local.parts.runtime
}

data "aws_iam_policy_document" "intake_status" {
  statement {
    sid       = "ReadPrompts"
    actions   = ["s3:GetObject"]
    resources = ["arn:${local.parts.account.partition}:s3:::${local.parts.stores.input_bucket}/*/prompts/*"]
  }
}
