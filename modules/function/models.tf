# Calls of models, for the functions that make them. Converse has no action of its own: it is authorised as InvokeModel.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html

data "aws_iam_policy_document" "models" {
  dynamic "statement" {
    for_each = length(var.models.direct_arns) > 0 ? [true] : []

    content {
      sid       = "InvokeModels"
      actions   = ["bedrock:InvokeModel"]
      resources = var.models.direct_arns
    }
  }

  dynamic "statement" {
    for_each = length(var.models.profile_arns) > 0 ? [true] : []

    content {
      sid       = "InvokeProfiles"
      actions   = ["bedrock:InvokeModel"]
      resources = var.models.profile_arns
    }
  }

  # https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html
  dynamic "statement" {
    for_each = length(var.models.profile_arns) > 0 ? [true] : []

    content {
      sid       = "InvokeModelsThroughProfiles"
      actions   = ["bedrock:InvokeModel"]
      resources = var.models.destination_arns

      condition {
        test     = "StringEquals"
        variable = "bedrock:InferenceProfileArn"
        values   = var.models.profile_arns
      }
    }
  }
}
