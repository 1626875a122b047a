# What a platform team usually sets, with what goes around it: a topic for alarms, a permissions boundary, tags.
provider "aws" {
  default_tags {
    tags = { project = "invoices", owner = "platform" }
  }
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

module "bulk_inference" {
  source = "../.."

  name   = "invoices"
  models = ["us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"]

  # The first model may use half of what the account may: the rest is for others.
  model_settings = {
    "us.anthropic.claude-haiku-4-5-20251001-v1:0" = {
      tokens_per_minute = 2000000
      quotas            = { max_jobs_in_flight = 10 }
    }
  }

  run_defaults = {
    mode                         = "auto"
    tolerated_failure_percentage = 5
    canary_records               = 10
    job_timeout_hours            = 48
  }

  # A corpus that another team keeps.
  source_buckets = {
    (aws_s3_bucket.archive.bucket) = { prefix = "mail/" }
  }

  retention = {
    run_files_days  = 60
    raw_output_days = 14
    results_days    = 365
  }

  tables = {
    ledger = { max_write_units = 20000 }
  }

  # Inference waits for the model: more memory does not make it faster.
  functions = {
    cut_shards  = { memory_mb = 3008 }
    infer_batch = { memory_mb = 1024, reserved_concurrency = 50 }
  }

  reprocessing = {
    max_receive_count = 4
    retention_days    = 5
  }

  logs = {
    retention_days = 30
    level          = "INFO"
  }

  tracing                  = true
  alarm_topic              = { arn = aws_sns_topic.on_call.arn }
  permissions_boundary_arn = aws_iam_policy.boundary.arn
  role_path                = "/pipelines/"
  tags                     = { component = "bulk-inference" }
  force_destroy            = var.disposable
  deletion_protection      = !var.disposable
}

resource "aws_s3_bucket" "archive" {
  bucket = "invoices-archive-${data.aws_caller_identity.current.account_id}"
}

resource "aws_s3_bucket_public_access_block" "archive" {
  bucket = aws_s3_bucket.archive.bucket

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_sns_topic" "on_call" {
  name              = "invoices-on-call"
  kms_master_key_id = module.bulk_inference.kms_key_arn
}

# The most that any role of the pipeline can ever be granted: data and inference, no rights.
resource "aws_iam_policy" "boundary" {
  name        = "invoices-boundary"
  description = "Boundary of the roles of invoices"
  policy      = data.aws_iam_policy_document.boundary.json
}

data "aws_iam_policy_document" "boundary" {
  statement {
    sid = "DataAndInference"
    actions = [
      "bedrock:*", "dynamodb:*", "ec2:*", "events:*", "kms:*", "lambda:InvokeFunction", "logs:*", "s3:*", "servicequotas:*",
      "sqs:*", "states:*", "xray:*",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "PassBatchRoles"
    actions   = ["iam:PassRole"]
    resources = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role/pipelines/invoices-batch-*"]
  }
}
