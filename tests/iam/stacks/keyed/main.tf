# As `made`, beside a key that is brought: then every policy can be read at plan.
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
  models = ["us.anthropic.claude-haiku-4-5-20251001-v1:0", "global.amazon.nova-2-lite-v1:0", "amazon.nova-lite-v1:0"]

  model_settings = {
    "global.amazon.nova-2-lite-v1:0" = {
      destination_model_arns = ["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-2-lite-v1:0"]
    }
  }

  kms_key = { arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }

  tenants = { acme = {}, globex = {} }
}
