output "ledger_table" {
  description = "Name of the table of claims."
  value       = aws_dynamodb_table.this["ledger"].name
}

output "runs_table" {
  description = "Name of the table of runs."
  value       = aws_dynamodb_table.this["runs"].name
}
