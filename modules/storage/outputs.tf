output "input_bucket" {
  description = "Name of the input bucket, made here or brought."
  value       = local.buckets.input
}

output "output_bucket" {
  description = "Name of the output bucket, made here or brought."
  value       = local.buckets.output
}

output "kms_key_arn" {
  description = "ARN of the key of buckets, tables and queues, made here or brought."
  value       = local.kms_key_arn
}

output "log_kms_key_arn" {
  description = "ARN of the key made here, whose policy lets CloudWatch Logs use it; null beside a key that was brought."
  value       = one(aws_kms_key.this[*].arn)
}

output "policies" {
  description = "Bucket policies as JSON, by bucket (\"input\", \"output\"), of the buckets made here."
  value       = { for bucket, document in data.aws_iam_policy_document.bucket : bucket => document.json }
}
