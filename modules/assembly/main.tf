# What is made of a run's results: documents of their chunks, Parquet files, one file in order.

locals {
  states                      = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}"
  assemble_results            = "${local.states}:stateMachine:${var.name}-assemble_results"
  assemble_results_executions = "${local.states}:execution:${var.name}-assemble_results"
  map_children                = [for label in ["SortParts", "JoinPartitions", "ExportParts"] : "${local.assemble_results_executions}/${label}:*"]
  pipeline                    = "${local.states}:stateMachine:${var.pipeline_name}"
  pipeline_executions         = "${local.states}:execution:${var.pipeline_name}"
}
