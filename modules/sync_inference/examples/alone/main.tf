# Buckets, tables, key, code, bus and queues, as the failure lane's example makes them.
module "beneath" {
  source = "../../../failure_lane/examples/alone"
}

locals {
  parts = module.beneath.parts
}

module "sync_inference" {
  source = "../.."

  name            = local.parts.name
  account         = local.parts.account
  stores          = local.parts.stores
  models          = local.parts.models
  reprocess_queue = local.parts.reprocess_queue
  event_bus_name  = local.parts.event_bus_name
  pipeline_name   = local.parts.pipeline_name
  runtime         = local.parts.runtime
}
