output "parameter_name" {
  description = "Name of the SSM parameter; null where none is made."
  value       = one(aws_ssm_parameter.this[*].name)
}

output "deployment" {
  description = "What the parameter holds."
  value       = local.document
}
