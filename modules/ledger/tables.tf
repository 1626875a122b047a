locals {
  tables = {
    # Claims: which unit of work landed a record. The key spreads by record, so no partition is hot.
    ledger = { keys = ["pk"], capacity = var.tables.ledger }
    # Runs with their cuts, shards, units and jobs; waiting task tokens; cached quotas.
    runs = { keys = ["pk", "sk"], capacity = var.tables.runs }
  }
}

resource "aws_dynamodb_table" "this" {
  for_each = local.tables

  name                        = "${var.name}-${each.key}"
  billing_mode                = each.value.capacity.read_units == null ? "PAY_PER_REQUEST" : "PROVISIONED"
  read_capacity               = each.value.capacity.read_units
  write_capacity              = each.value.capacity.write_units
  hash_key                    = each.value.keys[0]
  range_key                   = try(each.value.keys[1], null)
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  dynamic "attribute" {
    for_each = each.value.keys

    content {
      name = attribute.value
      type = "S"
    }
  }

  # -1 is no cap.
  dynamic "on_demand_throughput" {
    for_each = each.value.capacity.max_read_units == null && each.value.capacity.max_write_units == null ? [] : [each.value.capacity]

    content {
      max_read_request_units  = coalesce(on_demand_throughput.value.max_read_units, -1)
      max_write_request_units = coalesce(on_demand_throughput.value.max_write_units, -1)
    }
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}
