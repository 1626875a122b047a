output "reprocess_queue" {
  description = "Queue of failed records that wait for another try: name and URL."
  value = {
    name = aws_sqs_queue.reprocess.name
    url  = aws_sqs_queue.reprocess.url
  }
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

output "functions" {
  description = "Names of the functions made here, by handler."
  value       = { reprocess_records = aws_lambda_function.reprocess_records.function_name }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key; and of queues."
  value = {
    reprocess_records = data.aws_iam_policy_document.reprocess_records.json
    undelivered       = data.aws_iam_policy_document.undelivered.json
  }
}
