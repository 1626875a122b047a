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

  stores = {
    input_bucket  = module.storage.input_bucket
    output_bucket = module.storage.output_bucket
    ledger_table  = module.ledger.ledger_table
    runs_table    = module.ledger.runs_table
    kms_key_arn   = module.storage.kms_key_arn
  }

  runtime = {
    package    = module.bundle.package
    layer_arns = module.bundle.layer_arns
  }

  # Called in this Region, without a profile.
  models = {
    direct_arns      = ["arn:${local.account.partition}:bedrock:${local.account.region}::foundation-model/amazon.nova-lite-v1:0"]
    profile_arns     = []
    destination_arns = []
  }
}

module "storage" {
  source = "../../../storage"

  name      = "alone"
  account   = local.account
  tenants   = ["default"]
  retention = { run_files_days = 60, raw_output_days = 30, results_days = 0, noncurrent_version_days = 30, incomplete_upload_days = 7 }
}

module "ledger" {
  source = "../../../ledger"

  name        = "alone"
  kms_key_arn = module.storage.kms_key_arn
}

module "bundle" {
  source = "../../../bundle"

  name   = "alone"
  bucket = module.storage.input_bucket
}

module "completion" {
  source = "../../../completion"

  name    = "alone"
  account = local.account
}

module "failure_lane" {
  source = "../../../failure_lane"

  name           = "alone"
  account        = local.account
  stores         = local.stores
  models         = local.models
  event_bus_name = module.completion.event_bus_name
  assembly_name  = "alone-assemble_results"
  pipeline_name  = "alone-pipeline"
  runtime        = local.runtime
}

module "intake" {
  source = "../.."

  name                  = "alone"
  account               = local.account
  stores                = local.stores
  models                = local.models
  event_bus_name        = module.completion.event_bus_name
  pipeline_name         = "alone-pipeline"
  reprocess_queue       = module.failure_lane.reprocess_queue
  undelivered_queue_arn = module.failure_lane.undelivered_queue.arn
  runtime               = local.runtime
}
