locals {
  # 24 characters of name at most, so that both stay within the 63 that S3 allows.
  bucket_names = {
    input  = "${var.name}-input-${var.account.id}-${var.account.region}"
    output = "${var.name}-output-${var.account.id}-${var.account.region}"
  }

  brought = { input = var.input_bucket, output = var.output_bucket }
  made    = { for bucket, name in local.bucket_names : bucket => name if local.brought[bucket] == null }

  # Names are known at plan, so that every policy that mentions a bucket can be read there.
  buckets = { for bucket, given in local.brought : bucket => given == null ? aws_s3_bucket.this[bucket].bucket : given.name }

  kms_key_arn = var.kms_key == null ? aws_kms_key.this[0].arn : var.kms_key.arn
}
