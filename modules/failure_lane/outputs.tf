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
    reprocess_records = module.reprocess_records.name
    redrive_failures  = module.redrive_failures.name
    update_runs       = module.update_runs.name
  }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key; and of queues."
  value = {
    reprocess_records = module.reprocess_records.policy
    redrive_failures  = module.redrive_failures.policy
    update_runs       = module.update_runs.policy
    update_schedule   = module.update_runs.schedule_policy
    undelivered       = data.aws_iam_policy_document.undelivered.json
  }
}
