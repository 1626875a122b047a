# The module as you would use it on AWS. Only the provider's settings tell that this is the local AWS: its endpoints come
# from AWS_ENDPOINT_URL, its keys from the environment, too.
provider "aws" {
  skip_metadata_api_check = true
}

module "bulk_inference" {
  source = "../"

  name   = var.name
  models = var.models

  # Small and short-lived: no waiting, nothing to protect.
  reconcile_schedule  = var.reconcile_schedule
  functions           = var.functions
  reprocessing        = var.reprocessing
  intake              = var.intake
  run_defaults        = var.run_defaults
  tenants             = var.tenants
  packages            = var.packages
  parquet             = var.parquet
  force_destroy       = true
  deletion_protection = false

  logs = { retention_days = 1 }
}
