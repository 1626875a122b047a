# What Bedrock itself does with a tenant's files: read shards, write raw output. One role per tenant, so that a job of one
# tenant cannot touch another's.
# https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html

locals {
  tenants = { for tenant, settings in var.tenants : tenant => "${var.name}-batch-${tenant}-${var.account.region}" if settings.batch_role == null }

  # 64 characters are what IAM allows: a longer name is cut and told apart by its hash.
  batch_role_names = { for tenant, name in local.tenants : tenant => length(name) <= 64 ? name : "${substr(name, 0, 55)}-${substr(sha256(name), 0, 8)}" }

  # Bedrock's side of a job's network, where jobs run in a VPC.
  job_vpc  = try(var.runtime.vpc.batch_jobs, false) ? [var.runtime.vpc] : []
  ec2      = "arn:${var.account.partition}:ec2:${var.account.region}:${var.account.id}"
  eni      = "${local.ec2}:network-interface/*"
  job_tags = ["BedrockManaged", "BedrockModelInvocationJobArn"]

  batch_role_arns = { for tenant, settings in var.tenants : tenant => settings.batch_role != null ? settings.batch_role.arn : "arn:${var.account.partition}:iam::${var.account.id}:role${var.runtime.roles.path}${local.batch_role_names[tenant]}" }
}

resource "aws_iam_role" "batch" {
  for_each = local.batch_role_names

  name                 = each.value
  description          = "Bedrock batch jobs of tenant ${each.key} of ${var.name}"
  path                 = var.runtime.roles.path
  permissions_boundary = var.runtime.roles.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.batch_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "batch" {
  for_each = aws_iam_role.batch

  name   = "permissions"
  role   = each.value.name
  policy = data.aws_iam_policy_document.batch[each.key].json

  lifecycle {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 characters with the key's policy.
    precondition {
      condition     = length(data.aws_iam_policy_document.batch[each.key].minified_json) <= 9200
      error_message = "The batch role of ${each.key} would have a policy of ${length(data.aws_iam_policy_document.batch[each.key].minified_json)} characters, more than IAM takes: name fewer models, and apply the module once more for the others."
    }
  }
}

resource "aws_iam_role_policy" "batch_key" {
  for_each = aws_iam_role.batch

  name   = "key"
  role   = each.value.name
  policy = data.aws_iam_policy_document.batch_key[each.key].json
}

data "aws_iam_policy_document" "batch_trust" {
  statement {
    sid     = "BedrockAssumesForJobsOfThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["bedrock.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account.id]
    }

    # A job's id is not known before it is there.
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.jobs]
    }
  }
}

data "aws_iam_policy_document" "batch" {
  for_each = local.batch_role_names

  statement {
    sid       = "ReadShards"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/${each.key}/runs/*/shards/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceAccount"
      values   = [var.account.id]
    }
  }

  statement {
    sid       = "WriteRawOutput"
    actions   = ["s3:PutObject", "s3:GetObject"]
    resources = ["${local.output}/${each.key}/jobs/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceAccount"
      values   = [var.account.id]
    }
  }

  statement {
    sid       = "ListShards"
    actions   = ["s3:ListBucket"]
    resources = [local.input]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${each.key}/runs/*"]
    }
  }

  statement {
    sid       = "ListRawOutput"
    actions   = ["s3:ListBucket"]
    resources = [local.output]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${each.key}/jobs/*"]
    }
  }

  statement {
    sid       = "InvokeModels"
    actions   = ["bedrock:InvokeModel"]
    resources = distinct(concat(var.models.direct_arns, var.models.profile_arns, var.models.destination_arns))
  }

  # What follows is for jobs in a VPC: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-vpc.html
  # Describe actions have no resource types.
  dynamic "statement" {
    for_each = local.job_vpc

    content {
      sid = "LookAtNetwork"
      actions = [
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
      ]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = local.job_vpc

    content {
      sid       = "CreateInterfacesOfJobs"
      actions   = ["ec2:CreateNetworkInterface"]
      resources = [local.eni]

      condition {
        test     = "StringEquals"
        variable = "aws:RequestTag/BedrockManaged"
        values   = ["true"]
      }

      condition {
        test     = "ArnLike"
        variable = "aws:RequestTag/BedrockModelInvocationJobArn"
        values   = [local.jobs]
      }
    }
  }

  # Tags of a request are those of what it makes: the interface, not the subnet that it lies in.
  dynamic "statement" {
    for_each = local.job_vpc

    content {
      sid     = "CreateInterfacesInSubnets"
      actions = ["ec2:CreateNetworkInterface"]
      resources = concat(
        [for id in statement.value.subnet_ids : "${local.ec2}:subnet/${id}"],
        [for id in statement.value.security_group_ids : "${local.ec2}:security-group/${id}"],
      )
    }
  }

  dynamic "statement" {
    for_each = local.job_vpc

    content {
      sid = "UseInterfacesOfJobs"
      actions = [
        "ec2:CreateNetworkInterfacePermission",
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteNetworkInterfacePermission",
      ]
      resources = [local.eni]

      condition {
        test     = "ArnEquals"
        variable = "ec2:Subnet"
        values   = [for id in statement.value.subnet_ids : "${local.ec2}:subnet/${id}"]
      }

      condition {
        test     = "ArnLike"
        variable = "ec2:ResourceTag/BedrockModelInvocationJobArn"
        values   = [local.jobs]
      }
    }
  }

  dynamic "statement" {
    for_each = local.job_vpc

    content {
      sid       = "TagInterfacesOfJobs"
      actions   = ["ec2:CreateTags"]
      resources = [local.eni]

      condition {
        test     = "StringEquals"
        variable = "ec2:CreateAction"
        values   = ["CreateNetworkInterface"]
      }

      condition {
        test     = "ForAllValues:StringEquals"
        variable = "aws:TagKeys"
        values   = local.job_tags
      }
    }
  }
}

# The key, through S3 alone, for this tenant's objects; where a bucket has a bucket key, S3 names the bucket instead.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#encryption-context
data "aws_iam_policy_document" "batch_key" {
  for_each = local.batch_role_names

  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.stores.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.account.region}.${var.account.dns_suffix}"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:s3:arn"
      values   = [local.input, "${local.input}/${each.key}/*", local.output, "${local.output}/${each.key}/*"]
    }
  }

  # https://docs.aws.amazon.com/bedrock/latest/userguide/encryption-batch.html
  statement {
    sid       = "DescribeKey"
    actions   = ["kms:DescribeKey"]
    resources = [var.stores.kms_key_arn]
  }
}
