data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

# A machine that starts runs of a pipeline which exists, for one tenant.
module "nightly" {
  source = "../.."

  name = "alone"
  account = {
    partition = data.aws_partition.current.partition
    region    = data.aws_region.current.id
    id        = data.aws_caller_identity.current.account_id
  }
  stores  = { output_bucket = "alone-output", kms_key_arn = var.kms_key_arn }
  machine = "run-acme"
  starts  = [{ arn = var.pipeline_arn, executions = "acme_*" }]

  functions = [var.redrive_failures_arn]

  definition = templatefile("${path.module}/../../../../asl/tenant_run.asl.json", {
    partition    = data.aws_partition.current.partition
    tenant       = "acme"
    pipeline_arn = var.pipeline_arn

    redrive_failures_arn = var.redrive_failures_arn
  })
}

variable "pipeline_arn" {
  description = "ARN of the state machine whose executions are runs."
  type        = string
}

variable "redrive_failures_arn" {
  description = "ARN of the function that resubmits and drops failed records."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the key of the output bucket."
  type        = string
}
