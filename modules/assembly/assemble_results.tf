# asl/assemble_results.asl.json: what is made of a run's results.

module "assemble_results" {
  source = "../state_machine"

  name    = var.name
  account = var.account
  stores  = var.stores
  machine = "assemble_results"
  functions = [
    module.plan_assembly.planned_arn,
    module.sort_chunks.planned_arn,
    module.join_documents.planned_arn,
    module.close_assembly.planned_arn,
    module.export_parquet.planned_arn,
    module.order_results.planned_arn,
  ]
  maps = ["SortParts", "JoinPartitions", "ExportParts"]
  # A reduction is a run of its own.
  starts  = [{ arn = local.pipeline }]
  policy  = data.aws_iam_policy_document.assemble_results.json
  runtime = var.runtime
  tags    = var.tags

  definition = templatefile("${path.module}/../../asl/assemble_results.asl.json", {
    partition          = var.account.partition
    pipeline_arn       = local.pipeline
    plan_assembly_arn  = module.plan_assembly.planned_arn
    sort_chunks_arn    = module.sort_chunks.planned_arn
    join_documents_arn = module.join_documents.planned_arn
    close_assembly_arn = module.close_assembly.planned_arn
    export_parquet_arn = module.export_parquet.planned_arn
    order_results_arn  = module.order_results.planned_arn
  })
}

data "aws_iam_policy_document" "assemble_results" {
  statement {
    sid       = "ReadPlans"
    actions   = ["s3:GetObject"]
    resources = ["${local.output}/*/runs/*/assembly/*"]
  }
}
