# Runs with their cuts, shards, units and jobs; waiting task tokens; cached quotas.
resource "aws_dynamodb_table" "runs" {
  name                        = "${var.name}-runs"
  billing_mode                = var.tables.runs.read_units == null ? "PAY_PER_REQUEST" : "PROVISIONED"
  read_capacity               = var.tables.runs.read_units
  write_capacity              = var.tables.runs.write_units
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  # -1 is no cap.
  dynamic "on_demand_throughput" {
    for_each = var.tables.runs.max_read_units == null && var.tables.runs.max_write_units == null ? [] : [var.tables.runs]

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
