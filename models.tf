# What a role has to be granted in order to use a model, and how the functions call it.

locals {
  # A system-defined inference profile's id is a geography and a foundation model's id.
  # https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
  geographies = "us|us-gov|eu|apac|ap|jp|au|ca|sa|me|il|in|kr|uk|mx|af|global"

  # Models by the name that runs call them by: ids are their own. Keys are static, ids of named_models may be made beside
  # the module.
  model_ids = merge({ for model in var.models : model => model }, { for name, model in var.named_models : name => model.id })

  # Whether a model is a profile: by its id, or because it is said where it routes to.
  profiles = toset([
    for name, id in local.model_ids : name
    if try(var.named_models[name].destination_model_arns, null) != null ? true : can(regex("^(${local.geographies})\\.[a-z0-9-]+\\.", id)) || can(regex(":(application-)?inference-profile/", id))
  ])

  profile_arns = {
    for profile in local.profiles : profile =>
    startswith(local.model_ids[profile], "arn:") ? local.model_ids[profile] : "arn:${local.account.partition}:bedrock:${local.account.region}:${local.account.id}:inference-profile/${local.model_ids[profile]}"
  }

  # A global profile's calls are authorised on the model in this Region and on the model without a Region, too.
  # https://docs.aws.amazon.com/bedrock/latest/userguide/global-cross-region-inference.html
  global_profiles = {
    for profile in local.profiles : profile => regex("(?:^|/)global\\.(.+)$", local.model_ids[profile])[0]
    if try(var.named_models[profile].destination_model_arns, null) != null ? false : can(regex("(?:^|/)global\\.(.+)$", local.model_ids[profile]))
  }

  destination_arns = {
    for profile in local.profiles : profile => distinct(concat(
      local.given_destinations[profile] != null ? local.given_destinations[profile] : data.aws_bedrock_inference_profile.this[profile].models[*].model_arn,
      contains(keys(local.global_profiles), profile) ? [
        "arn:${local.account.partition}:bedrock:::foundation-model/${local.global_profiles[profile]}",
        "arn:${local.account.partition}:bedrock:${local.account.region}::foundation-model/${local.global_profiles[profile]}",
      ] : [],
    ))
  }

  given_destinations = { for profile in local.profiles : profile => try(coalesce(var.named_models[profile].destination_model_arns), var.model_settings[profile].destination_model_arns, null) }

  models = {
    # Foundation models that are called without a profile.
    direct_arns = sort([
      for name, id in local.model_ids : startswith(id, "arn:") ? id : "arn:${local.account.partition}:bedrock:${local.account.region}::foundation-model/${id}"
      if !contains(local.profiles, name)
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
    for model, id in local.model_ids : model => {
      invokeId           = id
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

  inference_profile_id = local.model_ids[each.value]
}
