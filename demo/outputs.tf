output "pipeline_arn" {
  description = "The state machine to start."
  value       = module.bulk_inference.pipeline_arn
}

output "shard_and_submit_arn" {
  description = "The state machine of shape A."
  value       = module.bulk_inference.shard_and_submit_arn
}

output "fan_out_arn" {
  description = "The state machine of shape B."
  value       = module.bulk_inference.fan_out_arn
}

output "input_bucket" {
  description = "Where corpora go."
  value       = module.bulk_inference.input_bucket
}

output "output_bucket" {
  description = "Where results come to lie."
  value       = module.bulk_inference.output_bucket
}

output "corpus_uri" {
  description = "Where to put a corpus."
  value       = module.bulk_inference.corpus_uri
}

output "ledger_table" {
  description = "The table of claims."
  value       = module.bulk_inference.ledger_table
}

output "runs_table" {
  description = "The table of runs."
  value       = module.bulk_inference.runs_table
}

output "reprocess_queue_url" {
  description = "Failed records that wait for another try."
  value       = module.bulk_inference.reprocess_queue_url
}

output "reprocess_dead_letter_queue_url" {
  description = "Records that failed on every try."
  value       = module.bulk_inference.reprocess_dead_letter_queue_url
}

output "undelivered_queue_url" {
  description = "Events that reached no function."
  value       = module.bulk_inference.undelivered_queue_url
}

output "event_bus_name" {
  description = "The bus of completion events."
  value       = module.bulk_inference.event_bus_name
}

output "function_names" {
  description = "Functions by handler."
  value       = module.bulk_inference.function_names
}

output "batch_role_arns" {
  description = "Bedrock batch roles by tenant."
  value       = module.bulk_inference.batch_role_arns
}

output "kms_key_arn" {
  description = "The key of everything."
  value       = module.bulk_inference.kms_key_arn
}

output "intake" {
  description = "Documents that arrive one by one: queues and policies; null unless it is switched on."
  value       = module.bulk_inference.intake
}

output "deployment" {
  description = "Where the pipeline has what: bulkinfer --outputs FILE reads it."
  value       = module.bulk_inference.deployment
}

output "tenants" {
  description = "What callers of each tenant get: state machine and policies."
  value       = module.bulk_inference.tenants
}
