output "pipeline_arn" {
  description = "The state machine to start."
  value       = module.bulk_inference.pipeline_arn
}

output "corpus_uri" {
  description = "Where to put a corpus."
  value       = module.bulk_inference.corpus_uri
}

output "input_bucket" {
  description = "The bucket of the corpora."
  value       = module.bulk_inference.input_bucket
}

output "output_bucket" {
  description = "Where results come to lie."
  value       = module.bulk_inference.output_bucket
}

output "event_bus_name" {
  description = "Where completion events come."
  value       = module.bulk_inference.event_bus_name
}

output "policies" {
  description = "The policy of every role, for a review."
  value       = module.bulk_inference.policies
}
