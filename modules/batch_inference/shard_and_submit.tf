# asl/shard_and_submit.asl.json: one child per shard.

module "shard_and_submit" {
  source = "../state_machine"

  name    = var.name
  account = var.account
  stores  = var.stores
  machine = "shard_and_submit"
  functions = [
    module.submit_job.planned_arn,
    module.collect_results.planned_arn,
    var.infer_batch_arn,
  ]
  maps    = ["SubmitShards"]
  policy  = data.aws_iam_policy_document.shard_and_submit.json
  runtime = var.runtime
  tags    = var.tags

  definition = templatefile("${path.module}/../../asl/shard_and_submit.asl.json", {
    partition           = var.account.partition
    submit_job_arn      = module.submit_job.planned_arn
    collect_results_arn = module.collect_results.planned_arn
    infer_batch_arn     = var.infer_batch_arn
  })
}

data "aws_iam_policy_document" "shard_and_submit" {
  statement {
    sid       = "ReadShardList"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*"]
  }
}
