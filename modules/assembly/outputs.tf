output "assemble_results_arn" {
  description = "ARN of the state machine that makes documents and other forms of a run's results."
  value       = module.assemble_results.arn
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value = {
    plan_assembly  = module.plan_assembly.name
    sort_chunks    = module.sort_chunks.name
    join_documents = module.join_documents.name
    close_assembly = module.close_assembly.name
    export_parquet = module.export_parquet.name
    order_results  = module.order_results.name
  }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { assemble_results = module.assemble_results.definition }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = {
    plan_assembly    = module.plan_assembly.policy
    sort_chunks      = module.sort_chunks.policy
    join_documents   = module.join_documents.policy
    close_assembly   = module.close_assembly.policy
    export_parquet   = module.export_parquet.policy
    order_results    = module.order_results.policy
    assemble_results = module.assemble_results.policy
  }
}
