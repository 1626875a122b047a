output "start_arn" {
  description = "The state machine that starts the run of a day: also by hand, for a day that was missed."
  value       = aws_sfn_state_machine.start.arn
}

output "pipeline_arn" {
  description = "The state machine whose executions are the runs."
  value       = module.bulk_inference.pipeline_arn
}

output "input_bucket" {
  description = "Where each day's objects go, below default/corpus/<dataset>/<day>/."
  value       = module.bulk_inference.input_bucket
}

output "output_bucket" {
  description = "Where results come to lie."
  value       = module.bulk_inference.output_bucket
}
