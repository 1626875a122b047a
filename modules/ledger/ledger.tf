# Claims: which unit of work landed a record. The key spreads by record, so no partition is hot.
resource "aws_dynamodb_table" "ledger" {
  name                        = "${var.name}-ledger"
  billing_mode                = var.tables.ledger.read_units == null ? "PAY_PER_REQUEST" : "PROVISIONED"
  read_capacity               = var.tables.ledger.read_units
  write_capacity              = var.tables.ledger.write_units
  hash_key                    = "pk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "pk"
    type = "S"
  }

  # -1 is no cap.
  dynamic "on_demand_throughput" {
    for_each = var.tables.ledger.max_read_units == null && var.tables.ledger.max_write_units == null ? [] : [var.tables.ledger]

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
