# Checks the request, reads quotas, lists the corpus, chooses the mode, plans the cuts, runs the canary.

module "plan_run" {
  source = "../function"

  name                 = var.name
  account              = var.account
  stores               = var.stores
  handler              = "plan_run"
  description          = "Checks a run request, reads quotas, plans the cuts, tries a few records"
  memory_mb            = 1024
  timeout_seconds      = 900
  environment          = local.environment
  layer_arns           = var.parquet_layer_arns
  source_buckets       = var.source_buckets
  lists_source_buckets = true
  models               = var.models
  lists_buckets        = ["input"]
  run_items            = ["GetItem", "PutItem", "UpdateItem", "Query"]
  policy               = data.aws_iam_policy_document.plan_run.json
  runtime              = var.runtime
  tags                 = var.tags
}

data "aws_iam_policy_document" "plan_run" {
  statement {
    sid       = "ReadCorporaAndSettings"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*"]
  }

  statement {
    sid       = "WritePlan"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*/plan/*"]
  }

  statement {
    sid       = "WriteReport"
    actions   = ["s3:PutObject"]
    resources = ["${local.output}/*/runs/*/plan/report.*"]
  }

  statement {
    sid       = "ReadQuotas"
    actions   = ["servicequotas:GetServiceQuota"]
    resources = [local.quotas]
  }

  # These have no resource type.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_servicequotas.html
  statement {
    sid = "LookUpQuotas"
    actions = [
      "servicequotas:GetAWSDefaultServiceQuota",
      "servicequotas:ListAWSDefaultServiceQuotas",
      "servicequotas:ListServiceQuotas",
    ]
    resources = ["*"]
  }
}
