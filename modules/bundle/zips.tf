# Functions are made from objects in S3: Lambda takes many of those at a time, and local files one after the other.
resource "aws_s3_object" "zip" {
  for_each = local.uploaded

  bucket      = var.bucket
  key         = "config/${each.key}.zip"
  source      = each.value
  source_hash = filemd5(each.value)

  # An object takes 10 tags at most: a provider's default_tags may be more.
  override_provider {
    default_tags {
      tags = {}
    }
  }
}
