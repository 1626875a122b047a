# One group of result parts as a Parquet file, where runs ask for it and there is a layer with pyarrow.

module "export_parquet" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "export_parquet"
  description     = "Writes results as Parquet"
  memory_mb       = 1769
  timeout_seconds = 900
  environment     = local.environment
  layer_arns      = var.parquet_layer_arns
  lists_buckets   = ["input", "output"]
  policy          = data.aws_iam_policy_document.export_parquet.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "export_parquet" {
  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/results/*"]
  }

  # A write on condition of what is there needs the right to read it.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
  statement {
    sid       = "WriteParquet"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/parquet/*"]
  }
}
