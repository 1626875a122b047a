# asl/fan_out.asl.json: one child per item batch.

module "fan_out" {
  source = "../state_machine"

  name      = var.name
  account   = var.account
  stores    = var.stores
  machine   = "fan_out"
  functions = [module.infer_batch.planned_arn]
  maps      = ["InferBatches"]
  policy    = data.aws_iam_policy_document.fan_out.json
  runtime   = var.runtime
  tags      = var.tags

  definition = templatefile("${path.module}/../../asl/fan_out.asl.json", {
    partition       = var.account.partition
    infer_batch_arn = module.infer_batch.planned_arn
  })
}

data "aws_iam_policy_document" "fan_out" {
  statement {
    sid       = "ListItems"
    actions   = ["s3:ListBucket"]
    resources = [local.input]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["*/runs/*", "*/corpus/*"]
    }
  }

  statement {
    sid       = "ReadItems"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/sync/*", "${local.input}/*/corpus/*"]
  }
}
