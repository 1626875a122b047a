# Buckets, tables, key, code, bus and queues, as the failure lane's example makes them.
module "beneath" {
  source = "../../../failure_lane/examples/alone"
}

locals {
  parts = module.beneath.parts
}

module "intake" {
  source = "../.."

  name                  = local.parts.name
  account               = local.parts.account
  stores                = local.parts.stores
  models                = local.parts.models
  event_bus_name        = local.parts.event_bus_name
  pipeline_name         = local.parts.pipeline_name
  reprocess_queue       = local.parts.reprocess_queue
  undelivered_queue_arn = local.parts.undelivered_queue_arn
  runtime               = local.parts.runtime
}
