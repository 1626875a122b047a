output "parts" {
  description = "What every capability is given: name, account, stores, models, runtime, event bus, queues. The other capabilities' examples build on it."
  value = {
    name                  = "alone"
    account               = local.account
    stores                = local.stores
    models                = local.models
    runtime               = local.runtime
    event_bus_name        = module.completion.event_bus_name
    reprocess_queue       = module.failure_lane.reprocess_queue
    undelivered_queue_arn = module.failure_lane.undelivered_queue.arn
    pipeline_name         = "alone-pipeline"
  }
}
