# asl/pipeline.asl.json: the run, from request to manifest.

module "pipeline" {
  source = "../state_machine"

  name    = var.name
  account = var.account
  stores  = var.stores
  machine = "pipeline"
  functions = [
    module.plan_run.planned_arn,
    module.cut_shards.planned_arn,
    module.seal_shards.planned_arn,
    module.finish_run.planned_arn,
  ]
  maps    = ["CutCorpus"]
  starts  = [{ arn = var.shard_and_submit_arn }, { arn = var.fan_out_arn }, { arn = var.assemble_results_arn }]
  policy  = data.aws_iam_policy_document.pipeline.json
  runtime = var.runtime
  tags    = var.tags

  definition = templatefile("${path.module}/../../asl/pipeline.asl.json", {
    partition            = var.account.partition
    plan_run_arn         = module.plan_run.planned_arn
    cut_shards_arn       = module.cut_shards.planned_arn
    seal_shards_arn      = module.seal_shards.planned_arn
    finish_run_arn       = module.finish_run.planned_arn
    shard_and_submit_arn = var.shard_and_submit_arn
    fan_out_arn          = var.fan_out_arn
    assemble_results_arn = var.assemble_results_arn
  })
}

data "aws_iam_policy_document" "pipeline" {
  statement {
    sid       = "ReadCutPlan"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*"]
  }
}
