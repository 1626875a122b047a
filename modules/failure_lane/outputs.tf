output "reprocess_queue" {
  description = "Queue of failed records of runs of priority normal that wait for another try: name and URL. Those of high and low have the same name with -high and -low behind it."
  value = {
    name = aws_sqs_queue.reprocess["normal"].name
    url  = aws_sqs_queue.reprocess["normal"].url
  }
}

output "reprocess_queue_urls" {
  description = "Queues of failed records that wait for another try: URLs, by priority."
  value       = { for priority, queue in aws_sqs_queue.reprocess : priority => queue.url }
}

output "dead_letter_queue" {
  description = "Queue of records that failed on every try: name and URL."
  value = {
    name = aws_sqs_queue.dead_letter.name
    url  = aws_sqs_queue.dead_letter.url
  }
}

output "undelivered_queue" {
  description = "Queue of events that reached no function: name, ARN and URL."
  value = {
    name = aws_sqs_queue.undelivered.name
    arn  = "${local.queue_arns}:${aws_sqs_queue.undelivered.name}"
    url  = aws_sqs_queue.undelivered.url
  }
}

output "maximum_concurrency" {
  description = "How many invocations of reprocess_records each queue may cause at once, by priority."
  value       = { for priority, lane in local.lanes : priority => lane.maximum_concurrency }
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value = {
    reprocess_records = aws_lambda_function.reprocess_records.function_name
    redrive_failures  = aws_lambda_function.redrive_failures.function_name
    update_runs       = aws_lambda_function.update_runs.function_name
  }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key; and of queues."
  value = {
    reprocess_records = data.aws_iam_policy_document.reprocess_records.json
    redrive_failures  = data.aws_iam_policy_document.redrive_failures.json
    update_runs       = data.aws_iam_policy_document.update_runs.json
    update_schedule   = data.aws_iam_policy_document.update_schedule.json
    undelivered       = data.aws_iam_policy_document.undelivered.json
  }
}
