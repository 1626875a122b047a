# Everything brought that can be: buckets, key, bus, VPC, boundary, path, topic, other buckets to read.
terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

module "bulk_inference" {
  source = "../../../.."

  name   = "tickets"
  models = ["us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"]

  tenants       = { acme = {}, globex = {} }
  input_bucket  = { name = "company-corpora" }
  output_bucket = { name = "company-answers" }
  kms_key       = { arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
  event_bus     = { name = "company" }

  intake = { enabled = true }

  source_buckets = {
    company-archive = { prefix = "mail/", kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/aaaaabcd-12ab-34cd-56ef-1234567890ab" }
  }

  vpc = {
    subnet_ids         = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]
    security_group_ids = ["sg-0a1b2c3d"]
  }

  permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  role_path                = "/pipelines/"
  alarm_topic              = { arn = "arn:aws:sns:us-east-1:123456789012:on-call" }
}
