# Counts slots, stores the task token, creates the job.

module "submit_job" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "submit_job"
  description     = "Creates the batch job of one shard, its task token stored before"
  memory_mb       = 512
  timeout_seconds = 900
  environment     = local.environment
  source_buckets  = var.source_buckets
  lists_buckets   = ["input"]
  run_items       = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy          = data.aws_iam_policy_document.submit_job.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "submit_job" {
  statement {
    sid       = "ReadRunFiles"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.input}/*/corpus/*", "${local.input}/config/settings.json"]
  }

  # Images and documents that records point to must lie beside them, in a folder of the job.
  # https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html
  statement {
    sid       = "StageMedia"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*/shards/*"]
  }

  # On the models and on the job that comes to be; behind a profile on the profile and on every model that it routes to.
  # https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-permissions.html
  statement {
    sid       = "CreateJobs"
    actions   = ["bedrock:CreateModelInvocationJob"]
    resources = concat([local.jobs], var.models.direct_arns, var.models.profile_arns, var.models.destination_arns)
  }

  statement {
    sid       = "TagAndReadJobs"
    actions   = ["bedrock:TagResource", "bedrock:GetModelInvocationJob"]
    resources = [local.jobs]
  }

  # Listing jobs has no resource type.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
  statement {
    sid       = "ListJobs"
    actions   = ["bedrock:ListModelInvocationJobs"]
    resources = ["*"]
  }

  statement {
    sid       = "PassBatchRoles"
    actions   = ["iam:PassRole"]
    resources = values(local.batch_role_arns)

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["bedrock.amazonaws.com"]
    }
  }

  # Tokens of a Distributed Map's children belong to the labelled machine, name/label.
  statement {
    sid       = "AnswerTaskTokens"
    actions   = ["states:SendTaskSuccess", "states:SendTaskFailure"]
    resources = [local.shard_and_submit, "${local.shard_and_submit}/*"]
  }
}
