output "fan_out_arn" {
  description = "ARN of the state machine of shape B."
  value       = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${aws_sfn_state_machine.fan_out.name}"
}

output "infer_batch_arn" {
  description = "ARN of the function that infers one item batch."
  value       = "arn:${var.account.partition}:lambda:${var.account.region}:${var.account.id}:function:${aws_lambda_function.infer_batch.function_name}"
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value       = { infer_batch = aws_lambda_function.infer_batch.function_name }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { fan_out = local.fan_out_definition }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = {
    infer_batch = data.aws_iam_policy_document.infer_batch.json
    fan_out     = data.aws_iam_policy_document.fan_out.json
  }
}
