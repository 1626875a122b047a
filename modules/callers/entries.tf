# asl/tenant_run.asl.json, once per tenant.

module "tenant_run" {
  source   = "../state_machine"
  for_each = local.entries

  name        = var.name
  account     = var.account
  stores      = var.stores
  machine     = "run-${each.key}"
  description = "Starts runs of tenant ${each.key} of ${var.name}"
  starts      = [{ arn = var.pipeline_arn, executions = "${each.key}_*" }]
  functions   = [local.redrive_failures_arn]
  runtime     = var.runtime
  tags        = var.tags

  definition = templatefile("${path.module}/../../asl/tenant_run.asl.json", {
    partition    = var.account.partition
    tenant       = each.key
    pipeline_arn = var.pipeline_arn

    redrive_failures_arn = local.redrive_failures_arn
  })
}
