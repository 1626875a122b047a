data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account = {
    partition  = data.aws_partition.current.partition
    dns_suffix = data.aws_partition.current.dns_suffix
    region     = data.aws_region.current.id
    id         = data.aws_caller_identity.current.account_id
  }
}

module "storage" {
  source = "../.."

  name      = "alone"
  account   = local.account
  tenants   = ["default"]
  retention = { run_files_days = 60, raw_output_days = 30, results_days = 0, noncurrent_version_days = 30, incomplete_upload_days = 7 }
}
