# What a role has to be granted in order to use a model, and how the functions call it.

locals {
  # A system-defined inference profile's id is a geography and a foundation model's id.
  # https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
  geographies = "us|us-gov|eu|apac|ap|jp|au|ca|sa|me|il|in|kr|uk|mx|af|global"

  profiles = toset([
    for model in var.models : model
    if can(regex("^(${local.geographies})\\.[a-z0-9-]+\\.", model)) || can(regex(":(application-)?inference-profile/", model))
  ])

  profile_arns = {
    for profile in local.profiles : profile =>
    startswith(profile, "arn:") ? profile : "arn:${local.account.partition}:bedrock:${local.account.region}:${local.account.id}:inference-profile/${profile}"
  }

  # A global profile's calls are authorised on the model in this Region and on the model without a Region, too.
  # https://docs.aws.amazon.com/bedrock/latest/userguide/global-cross-region-inference.html
  global_profiles = { for profile in local.profiles : profile => regex("(?:^|/)global\\.(.+)$", profile)[0] if can(regex("(?:^|/)global\\.(.+)$", profile)) }

  destination_arns = {
    for profile in local.profiles : profile => distinct(concat(
      local.given_destinations[profile] != null ? local.given_destinations[profile] : data.aws_bedrock_inference_profile.this[profile].models[*].model_arn,
      contains(keys(local.global_profiles), profile) ? [
        "arn:${local.account.partition}:bedrock:::foundation-model/${local.global_profiles[profile]}",
        "arn:${local.account.partition}:bedrock:${local.account.region}::foundation-model/${local.global_profiles[profile]}",
      ] : [],
    ))
  }

  given_destinations = { for profile in local.profiles : profile => try(var.model_settings[profile].destination_model_arns, null) }

  models = {
    # Foundation models that are called without a profile.
    direct_arns = sort([
      for model in var.models : startswith(model, "arn:") ? model : "arn:${local.account.partition}:bedrock:${local.account.region}::foundation-model/${model}"
      if !contains(local.profiles, model)
    ])
    profile_arns = sort(values(local.profile_arns))
    # Foundation models behind the profiles, in every Region that they route to.
    destination_arns = length(join("", local.every_destination_arn)) <= local.destination_characters ? local.every_destination_arn : local.regionless_arns
  }

  every_destination_arn = sort(distinct(flatten(values(local.destination_arns))))

  # A role's inline policies may have 10,240 characters. Many models in many Regions would not fit one by one: then each
  # model stands once, with a star for its Regions (and none, as global profiles need it).
  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
  destination_characters = 2500
  regionless_arns        = sort(distinct([for arn in local.every_destination_arn : replace(arn, "/:bedrock:[a-z0-9-]*::/", ":bedrock:*::")]))

  # The `models` part of config/settings.json.
  model_settings = {
    for model in var.models : model => {
      invokeId           = model
      api                = try(var.model_settings[model].api, null)
      batch              = try(var.model_settings[model].batch, null)
      quotaLabel         = try(var.model_settings[model].quota_label, null)
      onDemandQuotaLabel = try(var.model_settings[model].on_demand_quota_label, null)
      tokensPerMinute    = try(var.model_settings[model].tokens_per_minute, null)
      prices = try({
        inputPerMillion  = var.model_settings[model].prices.input_per_million
        outputPerMillion = var.model_settings[model].prices.output_per_million
        batchFactor      = var.model_settings[model].prices.batch_factor
        currency         = var.model_settings[model].prices.currency
      }, null)
      overrides = {
        minRecordsPerJob  = try(var.model_settings[model].quotas.min_records_per_job, null)
        maxRecordsPerJob  = try(var.model_settings[model].quotas.max_records_per_job, null)
        maxRecordsPerFile = try(var.model_settings[model].quotas.max_records_per_file, null)
        maxFileBytes      = try(var.model_settings[model].quotas.max_file_bytes, null)
        maxJobBytes       = try(var.model_settings[model].quotas.max_job_bytes, null)
        maxJobsInFlight   = try(var.model_settings[model].quotas.max_jobs_in_flight, null)
      }
    }
  }
}

# Needs bedrock:GetInferenceProfile at plan.
data "aws_bedrock_inference_profile" "this" {
  for_each = toset([for profile in local.profiles : profile if local.given_destinations[profile] == null])

  inference_profile_id = each.value
}
