# Powertools and a boto3 that is new enough for modelInvocationType: pure Python, for either CPU.
resource "aws_lambda_layer_version" "dependencies" {
  count = var.packages.layer_arns == null ? 1 : 0

  layer_name               = "${var.name}-dependencies"
  description              = "Dependencies of the bulk inference functions"
  s3_bucket                = local.objects.dependencies.s3_bucket
  s3_key                   = local.objects.dependencies.s3_key
  s3_object_version        = local.objects.dependencies.s3_object_version
  source_code_hash         = local.objects.dependencies.source_code_hash
  compatible_runtimes      = [var.python]
  compatible_architectures = ["arm64", "x86_64"]
}
