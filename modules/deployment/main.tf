# How tools find this deployment: one parameter, /bulk-inference/{name}, with everything that they need to know. It holds
# names and ARNs, nothing secret, so that whoever may start runs can read it without rights on a key.
resource "aws_ssm_parameter" "this" {
  #checkov:skip=CKV2_AWS_34:Names and ARNs only; encrypted, every caller would need kms:Decrypt to learn where the pipeline is.
  count = var.create_parameter ? 1 : 0

  name        = local.parameter
  description = "Where bulk inference pipeline ${var.name} has what"
  type        = "String"
  tier        = "Intelligent-Tiering" # Above 4 KB (some 15 tenants) it becomes an advanced parameter, of 8 KB at most.
  value       = jsonencode(local.document)
  tags        = var.tags
}

locals {
  parameter = "/bulk-inference/${var.name}"

  document = merge(var.contents, {
    version = 1
    name    = var.name
    region  = var.account.region
    account = var.account.id
  })
}
