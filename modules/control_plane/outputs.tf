output "pipeline_arn" {
  description = "ARN of the state machine whose executions are runs."
  value       = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${aws_sfn_state_machine.pipeline.name}"
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value = {
    plan_run    = aws_lambda_function.plan_run.function_name
    cut_shards  = aws_lambda_function.cut_shards.function_name
    seal_shards = aws_lambda_function.seal_shards.function_name
    finish_run  = aws_lambda_function.finish_run.function_name
    stop_run    = aws_lambda_function.stop_run.function_name
  }
}

output "layers" {
  description = "ARNs of the layers of the functions made here, by handler."
  value = {
    plan_run    = aws_lambda_function.plan_run.layers
    cut_shards  = aws_lambda_function.cut_shards.layers
    seal_shards = aws_lambda_function.seal_shards.layers
    finish_run  = aws_lambda_function.finish_run.layers
    stop_run    = aws_lambda_function.stop_run.layers
  }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { pipeline = local.pipeline_definition }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = {
    plan_run    = data.aws_iam_policy_document.plan_run.json
    cut_shards  = data.aws_iam_policy_document.cut_shards.json
    seal_shards = data.aws_iam_policy_document.seal_shards.json
    finish_run  = data.aws_iam_policy_document.finish_run.json
    stop_run    = data.aws_iam_policy_document.stop_run.json
    pipeline    = data.aws_iam_policy_document.pipeline.json
  }
}
