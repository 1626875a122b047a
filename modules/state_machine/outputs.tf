output "name" {
  description = "Name of the state machine."
  value       = aws_sfn_state_machine.this.name
}

output "arn" {
  description = "ARN of the state machine, known at plan. What holds it waits until the machine is there."
  value       = "${local.states}:stateMachine:${aws_sfn_state_machine.this.name}"
}

output "planned_arn" {
  description = "ARN of the state machine, known at plan. What holds it does not wait for the machine."
  value       = local.arn
}

output "definition" {
  description = "Rendered definition (JSON)."
  value       = var.definition
}

output "policy" {
  description = "Rendered policy (JSON) of the machine's role, without the part about the KMS key."
  value       = data.aws_iam_policy_document.this.json
}
