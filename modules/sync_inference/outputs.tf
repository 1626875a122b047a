output "fan_out_arn" {
  description = "ARN of the state machine of shape B."
  value       = module.fan_out.arn
}

output "infer_batch_arn" {
  description = "ARN of the function that infers one item batch."
  value       = "arn:${var.account.partition}:lambda:${var.account.region}:${var.account.id}:function:${module.infer_batch.name}"
}

output "functions" {
  description = "Names of the functions made here, by handler."
  value       = { infer_batch = module.infer_batch.name }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { fan_out = module.fan_out.definition }
}

output "policies" {
  description = "Rendered policies (JSON) of the roles made here, by role, without the part about the KMS key."
  value = {
    infer_batch = module.infer_batch.policy
    fan_out     = module.fan_out.policy
  }
}
