locals {
  dist = "${path.module}/../../lambdas/dist"

  needed = { for package, given in { functions = var.packages.functions, dependencies = var.packages.dependencies } : package => given if package == "functions" || var.packages.layer_arns == null }

  uploaded = { for package, given in local.needed : package => coalesce(given.path, "${local.dist}/${package}.zip") if given.s3_bucket == null }

  objects = {
    for package, given in local.needed : package => given.s3_bucket == null ? {
      s3_bucket         = aws_s3_object.zip[package].bucket
      s3_key            = aws_s3_object.zip[package].key
      s3_object_version = null
      source_code_hash  = filebase64sha256(local.uploaded[package])
      } : {
      s3_bucket         = given.s3_bucket
      s3_key            = given.s3_key
      s3_object_version = given.s3_object_version
      source_code_hash  = given.source_code_hash
    }
  }
}
