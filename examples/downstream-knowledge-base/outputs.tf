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
  description = "The bucket of the data source."
  value       = module.bulk_inference.output_bucket
}

output "ingest_arn" {
  description = "The state machine that starts ingestions."
  value       = aws_sfn_state_machine.ingest.arn
}

output "knowledge_base_policy" {
  description = "Policy (JSON) to attach to the knowledge base's role, so that it can read the results."
  value       = data.aws_iam_policy_document.read_results.json
}
