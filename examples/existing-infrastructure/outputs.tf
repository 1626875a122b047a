output "pipeline_arn" {
  description = "The state machine to start."
  value       = module.bulk_inference.pipeline_arn
}

output "completion_event_pattern" {
  description = "Event pattern (JSON) of the completion events on your bus."
  value       = module.bulk_inference.completion_event_pattern
}

output "policies" {
  description = "The policy of every role, for a review: all of them can be read at plan."
  value       = module.bulk_inference.policies
}
