# Read by plan_run at the start of each run, so that a change needs no new function version.
resource "aws_s3_object" "settings" {
  bucket       = var.stores.input_bucket
  key          = "config/settings.json"
  content      = var.settings
  content_type = "application/json"

  # An object takes 10 tags at most: a provider's default_tags may be more.
  override_provider {
    default_tags {
      tags = {}
    }
  }
}
