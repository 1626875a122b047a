output "pipeline_arn" {
  description = "ARN of the state machine whose executions are runs."
  value       = module.pipeline.arn
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value = {
    plan_run    = module.plan_run.name
    cut_shards  = module.cut_shards.name
    seal_shards = module.seal_shards.name
    finish_run  = module.finish_run.name
    stop_run    = module.stop_run.name
  }
}

output "layers" {
  description = "ARNs of the layers of the functions made here, by handler."
  value = {
    plan_run    = module.plan_run.layers
    cut_shards  = module.cut_shards.layers
    seal_shards = module.seal_shards.layers
    finish_run  = module.finish_run.layers
    stop_run    = module.stop_run.layers
  }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { pipeline = module.pipeline.definition }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = {
    plan_run    = module.plan_run.policy
    cut_shards  = module.cut_shards.policy
    seal_shards = module.seal_shards.policy
    finish_run  = module.finish_run.policy
    stop_run    = module.stop_run.policy
    pipeline    = module.pipeline.policy
  }
}
