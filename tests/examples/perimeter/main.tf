# A platform's perimeter: its key, its network, its boundary for every role; two tenants inside.
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
  skip_metadata_api_check = true
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

module "bulk_inference" {
  source = "../../.."

  name    = "inside"
  models  = ["us.anthropic.claude-haiku-4-5-20251001-v1:0"]
  tenants = { acme = {}, globex = {} }

  kms_key = { arn = aws_kms_key.this.arn }
  logs    = { kms_key_arn = aws_kms_key.this.arn, retention_days = 1 }
  vpc     = { subnet_ids = aws_subnet.this[*].id, security_group_ids = [aws_security_group.this.id] }

  permissions_boundary_arn = aws_iam_policy.boundary.arn
  role_path                = "/pipelines/"

  force_destroy       = true
  deletion_protection = false
}

resource "aws_kms_key" "this" {
  description = "All data of the pipeline"
  policy      = data.aws_iam_policy_document.key.json
}

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
data "aws_iam_policy_document" "key" {
  statement {
    sid       = "AccountDecidesByIam"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  statement {
    sid       = "CloudWatchLogs"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${data.aws_region.current.id}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:log-group:*"]
    }
  }
}

resource "aws_vpc" "this" {
  cidr_block = "10.20.0.0/16"
}

resource "aws_subnet" "this" {
  count = 2

  vpc_id     = aws_vpc.this.id
  cidr_block = "10.20.${count.index}.0/24"
}

resource "aws_security_group" "this" {
  name        = "inside-functions"
  description = "Functions and batch jobs"
  vpc_id      = aws_vpc.this.id
}

# What a platform lets pipelines do at most: data, compute and messages, never identities.
resource "aws_iam_policy" "boundary" {
  name   = "inside-boundary"
  policy = data.aws_iam_policy_document.boundary.json
}

data "aws_iam_policy_document" "boundary" {
  statement {
    sid = "Pipelines"
    actions = [
      "bedrock:*", "cloudwatch:PutMetricData", "dynamodb:*", "ec2:*NetworkInterface*", "ec2:Describe*", "ec2:CreateTags",
      "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses", "events:*", "kms:*", "lambda:InvokeFunction",
      "logs:*", "s3:*", "servicequotas:*", "sqs:*", "states:*", "xray:*",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "HandOnRoles"
    actions   = ["iam:PassRole"]
    resources = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role/pipelines/*"]
  }
}

output "input_bucket" {
  value = module.bulk_inference.input_bucket
}

output "output_bucket" {
  value = module.bulk_inference.output_bucket
}

output "pipeline_arn" {
  value = module.bulk_inference.pipeline_arn
}

output "shard_and_submit_arn" {
  value = module.bulk_inference.shard_and_submit_arn
}

output "fan_out_arn" {
  value = module.bulk_inference.fan_out_arn
}

output "key_arn" {
  value = aws_kms_key.this.arn
}

output "boundary_arn" {
  value = aws_iam_policy.boundary.arn
}

output "subnet_ids" {
  value = aws_subnet.this[*].id
}
