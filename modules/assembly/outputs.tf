output "assemble_results_arn" {
  description = "ARN of the state machine that makes documents and other forms of a run's results."
  value       = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${aws_sfn_state_machine.assemble_results.name}"
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value = {
    plan_assembly  = aws_lambda_function.plan_assembly.function_name
    sort_chunks    = aws_lambda_function.sort_chunks.function_name
    join_documents = aws_lambda_function.join_documents.function_name
    close_assembly = aws_lambda_function.close_assembly.function_name
    export_parquet = aws_lambda_function.export_parquet.function_name
    order_results  = aws_lambda_function.order_results.function_name
  }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { assemble_results = local.assemble_results_definition }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = {
    plan_assembly    = data.aws_iam_policy_document.plan_assembly.json
    sort_chunks      = data.aws_iam_policy_document.sort_chunks.json
    join_documents   = data.aws_iam_policy_document.join_documents.json
    close_assembly   = data.aws_iam_policy_document.close_assembly.json
    export_parquet   = data.aws_iam_policy_document.export_parquet.json
    order_results    = data.aws_iam_policy_document.order_results.json
    assemble_results = data.aws_iam_policy_document.assemble_results.json
  }
}
