variable "kms_key_arn" {
  description = "Key of the tables."
  type        = string
}

module "ledger" {
  source = "../.."

  name        = "alone"
  kms_key_arn = var.kms_key_arn

  tables = { ledger = { max_write_units = 8000 } }
}
