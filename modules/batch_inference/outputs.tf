output "shard_and_submit_arn" {
  description = "ARN of the state machine of shape A."
  value       = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${aws_sfn_state_machine.shard_and_submit.name}"
}

output "batch_role_arns" {
  description = "ARNs of the Bedrock batch roles, made here or brought, by tenant."
  value       = local.batch_role_arns
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value = {
    submit_job      = aws_lambda_function.submit_job.function_name
    resume_job      = aws_lambda_function.resume_job.function_name
    collect_results = aws_lambda_function.collect_results.function_name
    reconcile_jobs  = aws_lambda_function.reconcile_jobs.function_name
  }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { shard_and_submit = local.shard_and_submit_definition }
}

output "key_policies" {
  description = "Rendered policies (JSON) of the batch roles about the KMS key, by tenant: unknown at plan while the key is."
  value       = { for tenant, document in data.aws_iam_policy_document.batch_key : tenant => document.json }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = merge(
    {
      submit_job         = data.aws_iam_policy_document.submit_job.json
      resume_job         = data.aws_iam_policy_document.resume_job.json
      collect_results    = data.aws_iam_policy_document.collect_results.json
      reconcile_jobs     = data.aws_iam_policy_document.reconcile_jobs.json
      reconcile_schedule = data.aws_iam_policy_document.reconcile_schedule.json
      shard_and_submit   = data.aws_iam_policy_document.shard_and_submit.json
    },
    { for tenant, document in data.aws_iam_policy_document.batch : "batch-${tenant}" => document.json },
  )
}
