output "event_bus_name" {
  description = "Name of the bus, made here or brought."
  value       = local.name
}

output "event_bus_arn" {
  description = "ARN of the bus, made here or brought."
  value       = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${local.name}"
}

output "event_pattern" {
  description = "Event pattern (JSON) of a rule on the bus that matches every completion event."
  value       = jsonencode(local.pattern)
}

output "update_event_pattern" {
  description = "Event pattern (JSON) of a rule on the bus that matches every event of a run whose manifest was written anew, because failed records have landed, been dropped or been resubmitted since."
  value       = jsonencode(merge(local.pattern, { "detail-type" = ["Bulk Inference Run Updated"] }))
}
