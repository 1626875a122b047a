# What the module is given is made beside it, in the same apply: nothing of it is known at plan.
terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

resource "aws_iam_role" "batch" {
  name = "company-batch"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "bedrock.amazonaws.com" } }]
  })
}

resource "aws_bedrock_inference_profile" "tickets" {
  name = "tickets"

  model_source {
    copy_from = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
  }
}

resource "aws_kms_key" "this" {}

resource "aws_sns_topic" "on_call" {}

resource "aws_iam_policy" "boundary" {
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "*", Resource = "*" }] })
}

module "bulk_inference" {
  source = "../../../.."

  name   = "tickets"
  models = ["amazon.nova-micro-v1:0"]

  named_models = {
    tickets = {
      id                     = aws_bedrock_inference_profile.tickets.arn
      destination_model_arns = ["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"]
    }
  }

  model_settings = {
    tickets = { batch = true, quota_label = "Nova Lite V1" }
  }

  tenants = {
    default = { batch_role = { arn = aws_iam_role.batch.arn } }
    acme    = {}
  }

  kms_key                  = { arn = aws_kms_key.this.arn }
  alarm_topic              = { arn = aws_sns_topic.on_call.arn }
  permissions_boundary_arn = aws_iam_policy.boundary.arn
  intake                   = { enabled = true }
}
