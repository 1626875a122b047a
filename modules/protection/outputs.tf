output "protected" {
  description = "Whether destroying is refused."
  value       = terraform_data.this.output.protected
}
