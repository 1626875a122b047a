# Who may start runs, put corpora, read results: policies for the people and systems around the pipeline, for all tenants
# and for each. Start-execution permission is on a state machine, and a run request names its tenant: where there are
# several tenants, each has a state machine of its own that pins it.

locals {
  # With one tenant the pipeline itself is its entry point.
  entries = length(var.tenants) > 1 ? var.tenants : toset([])

  pipeline_executions = replace(var.pipeline_arn, ":stateMachine:", ":execution:")
  machines            = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine"
  executions          = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution"

  input  = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"

  redrive_failures_arn = "arn:${var.account.partition}:lambda:${var.account.region}:${var.account.id}:function:${var.redrive_function}"

  # What a caller starts and watches, by tenant: asl/tenant_run.asl.json prefixes the names of its runs.
  ways_in = { for tenant in var.tenants : tenant => {
    machine    = contains(local.entries, tenant) ? "${local.machines}:${var.name}-run-${tenant}" : var.pipeline_arn
    executions = contains(local.entries, tenant) ? ["${local.executions}:${var.name}-run-${tenant}:*", "${local.pipeline_executions}:${tenant}_*"] : ["${local.pipeline_executions}:*"]
  } }
}
