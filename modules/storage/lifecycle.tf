# A lifecycle rule knows only prefixes, so each tenant has rules of its own. Corpora are the user's: no rule touches them.

locals {
  run_files_rules = var.retention.run_files_days == 0 ? {} : merge(
    { for tenant in var.tenants : "run-files-${tenant}" => { prefix = "${tenant}/runs/", days = var.retention.run_files_days } },
    # What the intake has pooled: the corpora of its runs.
    { for tenant in var.tenants : "intake-${tenant}" => { prefix = "${tenant}/intake/", days = var.retention.run_files_days } },
  )

  output_rules = merge(
    var.retention.raw_output_days == 0 ? {} : {
      for tenant in var.tenants : "raw-output-${tenant}" => { prefix = "${tenant}/jobs/", days = var.retention.raw_output_days }
    },
    var.retention.results_days == 0 ? {} : {
      for tenant in var.tenants : "results-${tenant}" => { prefix = "${tenant}/runs/", days = var.retention.results_days }
    },
  )

  rules = { input = local.run_files_rules, output = local.output_rules }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.bucket

  rule {
    id     = "remains"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.retention.noncurrent_version_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = var.retention.incomplete_upload_days
    }
  }

  dynamic "rule" {
    for_each = local.rules[each.key]

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = rule.value.prefix
      }

      expiration {
        days = rule.value.days
      }
    }
  }

  # Rules for noncurrent versions need versions.
  depends_on = [aws_s3_bucket_versioning.this]
}
