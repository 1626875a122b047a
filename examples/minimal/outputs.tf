output "pipeline_arn" {
  description = "The state machine to start."
  value       = module.bulk_inference.pipeline_arn
}

output "corpus_uri" {
  description = "Where to put a corpus."
  value       = module.bulk_inference.corpus_uri
}

output "output_bucket" {
  description = "Where results come to lie."
  value       = module.bulk_inference.output_bucket
}
