output "queue_urls" {
  description = "Queues that documents are sent to: URLs, by priority."
  value       = { for priority, queue in aws_sqs_queue.intake : priority => queue.url }
}

output "queue_arns" {
  description = "Queues that documents are sent to: ARNs, by priority."
  value       = { for priority, queue in local.queues : priority => queue.arn }
}

output "dead_letter_queue_urls" {
  description = "Queues of messages that could not be processed: URLs, by priority."
  value       = { for priority, queue in aws_sqs_queue.dead_letter : priority => queue.url }
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value = {
    infer_documents = module.infer_documents.name
    pool_documents  = module.pool_documents.name
    follow_pools    = module.follow_pools.name
    intake_status   = module.intake_status.name
  }
}

output "sender_policy" {
  description = "IAM policy (JSON) for a role that sends documents. It also needs kms:GenerateDataKey and kms:Decrypt on the key."
  value       = data.aws_iam_policy_document.sender.json
}

output "status_reader_policy" {
  description = "IAM policy (JSON) for a role that asks for the status of documents."
  value       = data.aws_iam_policy_document.status_reader.json
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = {
    infer_documents = module.infer_documents.policy
    pool_documents  = module.pool_documents.policy
    follow_pools    = module.follow_pools.policy
    intake_status   = module.intake_status.policy
    follow_schedule = module.follow_pools.schedule_policy
  }
}
