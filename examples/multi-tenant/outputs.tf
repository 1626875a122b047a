output "pipeline_arn" {
  description = "The state machine that operators start."
  value       = module.bulk_inference.pipeline_arn
}

output "ways_in" {
  description = "The state machine that each team starts."
  value       = { for tenant, its in module.bulk_inference.tenants : tenant => its.state_machine_arn }
}

output "team_role_arns" {
  description = "The role that each team works with."
  value       = { for tenant, role in aws_iam_role.team : tenant => role.arn }
}

output "input_bucket" {
  description = "Corpora, each team's below its tenant's name."
  value       = module.bulk_inference.input_bucket
}

output "output_bucket" {
  description = "Results, each team's below its tenant's name."
  value       = module.bulk_inference.output_bucket
}

output "function_names" {
  description = "Names of the functions, by handler."
  value       = module.bulk_inference.function_names
}
