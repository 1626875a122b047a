data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account = {
    partition  = data.aws_partition.current.partition
    dns_suffix = data.aws_partition.current.dns_suffix
    region     = data.aws_region.current.id
    id         = data.aws_caller_identity.current.account_id
  }
}

variable "pipeline_arn" {
  description = "A pipeline that is there already."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of its buckets."
  type        = string
}

module "callers" {
  source = "../.."

  name             = "alone"
  account          = local.account
  stores           = { input_bucket = "alone-input", output_bucket = "alone-output", kms_key_arn = var.kms_key_arn }
  tenants          = ["acme", "globex"]
  pipeline_arn     = var.pipeline_arn
  redrive_function = "alone-redrive_failures"
}
