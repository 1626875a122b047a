# Policies to attach to callers: nothing is attached here. `all` is for those who work with every tenant.

locals {
  audiences = merge(
    { for tenant in var.tenants : tenant => {
      machines   = [local.ways_in[tenant].machine]
      executions = local.ways_in[tenant].executions
      tenants    = [tenant]
    } },
    { all = {
      machines   = concat([var.pipeline_arn], [for tenant in local.entries : local.ways_in[tenant].machine])
      executions = concat(["${local.pipeline_executions}:*"], [for tenant in local.entries : "${local.executions}:${var.name}-run-${tenant}:*"])
      tenants    = sort(var.tenants)
    } },
  )
}

data "aws_iam_policy_document" "start_runs" {
  for_each = local.audiences

  statement {
    sid       = "StartRuns"
    actions   = ["states:StartExecution", "states:ListExecutions"]
    resources = each.value.machines
  }

  # Where this pipeline has what, for tools.
  statement {
    sid       = "FindDeployment"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${var.account.partition}:ssm:${var.account.region}:${var.account.id}:parameter/bulk-inference/${var.name}"]
  }

  # The history of a run holds its request, so also its prompt template.
  statement {
    sid       = "WatchAndStopRuns"
    actions   = ["states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution", "states:RedriveExecution"]
    resources = each.value.executions
  }
}

data "aws_iam_policy_document" "write_corpora" {
  for_each = local.audiences

  statement {
    sid       = "WriteCorpora"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]
    resources = [for tenant in each.value.tenants : "${local.input}/${tenant}/corpus/*"]
  }

  statement {
    sid       = "ListCorpora"
    actions   = ["s3:ListBucket"]
    resources = [local.input]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [for tenant in each.value.tenants : "${tenant}/corpus/*"]
    }
  }

  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#encryption-context
  statement {
    sid       = "EncryptCorpora"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = [var.stores.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.account.region}.${var.account.dns_suffix}"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:s3:arn"
      values   = concat([local.input], [for tenant in each.value.tenants : "${local.input}/${tenant}/*"])
    }
  }
}

data "aws_iam_policy_document" "read_results" {
  for_each = local.audiences

  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = [for tenant in each.value.tenants : "${local.output}/${tenant}/runs/*"]
  }

  statement {
    sid       = "ListResults"
    actions   = ["s3:ListBucket"]
    resources = [local.output]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [for tenant in each.value.tenants : "${tenant}/runs/*"]
    }
  }

  statement {
    sid       = "DecryptResults"
    actions   = ["kms:Decrypt"]
    resources = [var.stores.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.account.region}.${var.account.dns_suffix}"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:s3:arn"
      values   = concat([local.output], [for tenant in each.value.tenants : "${local.output}/${tenant}/*"])
    }
  }
}

# What a team of one tenant needs, in one document.
data "aws_iam_policy_document" "everything" {
  for_each = local.audiences

  source_policy_documents = [
    data.aws_iam_policy_document.start_runs[each.key].json,
    data.aws_iam_policy_document.write_corpora[each.key].json,
    data.aws_iam_policy_document.read_results[each.key].json,
  ]
}

# An operator's, over all tenants: the command names its run and tenant, and a queue is emptied as a whole.
data "aws_iam_policy_document" "redrive" {
  statement {
    sid       = "RedriveFailures"
    actions   = ["lambda:InvokeFunction"]
    resources = ["arn:${var.account.partition}:lambda:${var.account.region}:${var.account.id}:function:${var.redrive_function}"]
  }
}
