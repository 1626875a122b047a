output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "ARN of the function, known at plan. What holds it waits until the function is there."
  value       = local.arn
}

output "planned_arn" {
  description = "ARN of the function, known at plan. What holds it does not wait for the function."
  value       = local.planned_arn
}

output "layers" {
  description = "ARNs of the function's layers."
  value       = aws_lambda_function.this.layers
}

output "size" {
  description = "Memory in MB, timeout in seconds and reserved concurrency (null: none), as the function has them."
  value       = local.size
}

output "policy" {
  description = "Rendered policy (JSON) of the function's role, without the part about the KMS key."
  value       = data.aws_iam_policy_document.this.json
}

output "schedule_policy" {
  description = "Rendered policy (JSON) of the schedule's role; null without a schedule."
  value       = one(data.aws_iam_policy_document.schedule[*].json)
}

output "schedule_expression" {
  description = "When the function runs by the clock; null: never."
  value       = one(aws_scheduler_schedule.this[*].schedule_expression)
}

output "undelivered_queue_arn" {
  description = "ARN of the queue that takes events which failed on every try; null: none does."
  value       = one(aws_lambda_function.this.dead_letter_config[*].target_arn)
}
