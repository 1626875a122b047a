output "drop_uri" {
  description = "Where a dropped file starts a run."
  value       = "s3://${module.bulk_inference.input_bucket}/${var.folder}"
}

output "start_arn" {
  description = "The state machine that names and starts the runs."
  value       = aws_sfn_state_machine.start.arn
}

output "pipeline_arn" {
  description = "The state machine whose executions are the runs."
  value       = module.bulk_inference.pipeline_arn
}

output "input_bucket" {
  description = "The bucket of the drop folder."
  value       = module.bulk_inference.input_bucket
}

output "output_bucket" {
  description = "Where results come to lie."
  value       = module.bulk_inference.output_bucket
}
