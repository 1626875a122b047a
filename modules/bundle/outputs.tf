output "package" {
  description = "Object that holds the functions' code: bucket, key, version (null: the newest) and base64 SHA-256."
  value       = local.objects.functions
}

output "layer_arns" {
  description = "Layers that the functions need."
  value       = var.packages.layer_arns == null ? aws_lambda_layer_version.dependencies[*].arn : var.packages.layer_arns
}

output "parquet_layer_arns" {
  description = "Layer that functions need to read and write Parquet; none if it was not asked for."
  value       = try(var.parquet.layer_arn, null) != null ? [var.parquet.layer_arn] : aws_lambda_layer_version.parquet[*].arn
}

output "digests" {
  description = "SHA-256 (hex) of the zips that this module puts into the bucket, by package: functions, dependencies. None of a package that is brought."
  value       = { for package, path in local.uploaded : package => filesha256(path) }
}
