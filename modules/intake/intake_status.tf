# A question of a user: what has become of a document, of a pool; numbers by priority.
# aws lambda invoke --function-name <name>-intake_status --cli-binary-format raw-in-base64-out --payload '{}' /dev/stdout

module "intake_status" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "intake_status"
  description     = "Tells what has become of documents that came one by one"
  memory_mb       = 512
  timeout_seconds = 30
  environment     = local.environment
  lists_buckets   = ["input"]
  policy          = data.aws_iam_policy_document.intake_status.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "intake_status" {
  statement {
    sid       = "ReadPrompts"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/prompts/*"]
  }

  statement {
    sid       = "ReadDocumentsAndPools"
    actions   = ["dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.runs]
  }

  statement {
    sid       = "CountMessages"
    actions   = ["sqs:GetQueueAttributes"]
    resources = local.all_queues
  }
}
