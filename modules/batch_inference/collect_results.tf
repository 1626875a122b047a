# Streams a job's output: claims and lands results, quarantines error lines, finds what was not processed.

module "collect_results" {
  source = "../function"

  name        = var.name
  account     = var.account
  stores      = var.stores
  handler     = "collect_results"
  description = "Lands the results of one ended job, quarantines its errors, finds what it left over"
  # One whole CPU: it parses up to a gigabyte of output.
  memory_mb       = 1769
  timeout_seconds = 900
  environment     = local.environment
  claims_for      = var.pipeline_name
  lists_buckets   = ["input", "output"]
  run_items       = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy          = data.aws_iam_policy_document.collect_results.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "collect_results" {
  statement {
    sid       = "ReadRunFilesAndRawOutput"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.output}/*/runs/*", "${local.output}/*/jobs/*"]
  }

  statement {
    sid       = "WriteResultsAndNextAttempt"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*", "${local.output}/*/runs/*"]
  }

  statement {
    sid       = "SendFailures"
    actions   = ["sqs:SendMessage"]
    resources = local.reprocess_queues
  }

  statement {
    sid       = "ReadJobs"
    actions   = ["bedrock:GetModelInvocationJob"]
    resources = [local.jobs]
  }

  # Listing jobs has no resource type.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
  statement {
    sid       = "ListJobs"
    actions   = ["bedrock:ListModelInvocationJobs"]
    resources = ["*"]
  }
}
