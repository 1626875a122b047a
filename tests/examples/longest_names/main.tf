# The longest name, the longest tenants, the Region with the longest name, everything switched on.
terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {
  region = "ap-southeast-1"
}

module "bulk_inference" {
  source = "../../.."

  name        = "abcdefghijklmnopqrstuvwx"
  models      = ["amazon.nova-lite-v1:0"]
  tenants     = { abcdefghijklmnopqrstuvwxyz012345 = {}, abcdefghijklmnopqrstuvwxyz012346 = {} }
  intake      = { enabled = true }
  alarm_topic = { arn = "arn:aws:sns:ap-southeast-1:123456789012:on-call" }
}
