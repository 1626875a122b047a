# pyarrow, for the functions that read and write Parquet: native code for one CPU and one Python version, so that it is
# no part of the bundle. Only where it is asked for.

locals {
  parquet_package = try(var.parquet.package, null)
  parquet_path    = try(var.parquet.package.path, null)
}

resource "aws_s3_object" "parquet" {
  count = local.parquet_path == null ? 0 : 1

  bucket      = var.bucket
  key         = "config/parquet.zip"
  source      = local.parquet_path
  source_hash = filemd5(local.parquet_path)

  # An object takes 10 tags at most: a provider's default_tags may be more.
  override_provider {
    default_tags {
      tags = {}
    }
  }
}

resource "aws_lambda_layer_version" "parquet" {
  count = local.parquet_package == null ? 0 : 1

  layer_name               = "${var.name}-parquet"
  description              = "pyarrow for the bulk inference functions that read and write Parquet"
  s3_bucket                = local.parquet_path == null ? local.parquet_package.s3_bucket : aws_s3_object.parquet[0].bucket
  s3_key                   = local.parquet_path == null ? local.parquet_package.s3_key : aws_s3_object.parquet[0].key
  s3_object_version        = local.parquet_path == null ? local.parquet_package.s3_object_version : null
  source_code_hash         = local.parquet_path == null ? local.parquet_package.source_code_hash : filebase64sha256(local.parquet_path)
  compatible_runtimes      = [var.python]
  compatible_architectures = [var.architecture]
}
