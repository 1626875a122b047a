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

module "completion" {
  source = "../.."

  name    = "alone"
  account = local.account
}
