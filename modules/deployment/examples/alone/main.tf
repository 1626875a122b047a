data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

data "aws_partition" "current" {}

locals {
  partition = data.aws_partition.current.partition
}

module "deployment" {
  source = "../.."

  name    = "alone"
  account = { region = data.aws_region.current.id, id = data.aws_caller_identity.current.account_id }

  contents = {
    bundle        = { sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    buckets       = { input = "alone-input", output = "alone-output" }
    kmsKeyArn     = "arn:${local.partition}:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    tables        = { ledger = "alone-ledger", runs = "alone-runs" }
    stateMachines = { pipeline = "arn:${local.partition}:states:us-east-1:123456789012:stateMachine:alone-pipeline" }
    tenants       = {}
    functions     = {}
    queues        = { deadLetter = "https://sqs.us-east-1.amazonaws.com/123456789012/alone", undelivered = "https://sqs.us-east-1.amazonaws.com/123456789012/alone" }
    eventBus      = "alone"
  }
}
