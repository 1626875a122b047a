# Buckets, tables, key, code, bus and queues, as the failure lane's example makes them.
module "beneath" {
  source = "../../../failure_lane/examples/alone"
}

locals {
  parts = module.beneath.parts
}

# What a job leaves over is inferred on demand.
module "sync_inference" {
  source = "../../../sync_inference"

  name            = local.parts.name
  account         = local.parts.account
  stores          = local.parts.stores
  models          = local.parts.models
  reprocess_queue = local.parts.reprocess_queue
  event_bus_name  = local.parts.event_bus_name
  pipeline_name   = local.parts.pipeline_name
  runtime         = local.parts.runtime
}

module "batch_inference" {
  source = "../.."

  name                  = local.parts.name
  account               = local.parts.account
  stores                = local.parts.stores
  models                = local.parts.models
  tenants               = { default = {} }
  infer_batch_arn       = module.sync_inference.infer_batch_arn
  fan_out_arn           = module.sync_inference.fan_out_arn
  pipeline_name         = local.parts.pipeline_name
  reprocess_queue       = local.parts.reprocess_queue
  undelivered_queue_arn = local.parts.undelivered_queue_arn
  event_bus_name        = local.parts.event_bus_name
  runtime               = local.parts.runtime
}
