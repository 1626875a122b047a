# Names at their limits, other Regions and partitions, and everything brought along.
# By the real provider, with keys that open nothing: no call leaves this machine.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

# The longest name of a Region.
provider "aws" {
  alias                       = "singapore"
  region                      = "ap-southeast-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

provider "aws" {
  alias                       = "govcloud"
  region                      = "us-gov-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

# The provider would have a definition validated by AWS at plan.
override_resource {
  target = module.control_plane.module.pipeline.aws_sfn_state_machine.this
}

override_resource {
  target = module.batch_inference.module.shard_and_submit.aws_sfn_state_machine.this
}

override_resource {
  target = module.sync_inference.module.fan_out.aws_sfn_state_machine.this
}

override_resource {
  target = module.assembly.module.assemble_results.aws_sfn_state_machine.this
}

override_resource {
  target = module.callers.module.tenant_run["abcdefghijklmnopqrstuvwxyz012345"].aws_sfn_state_machine.this
}

override_resource {
  target = module.callers.module.tenant_run["abcdefghijklmnopqrstuvwxyz012346"].aws_sfn_state_machine.this
}

override_resource {
  target = module.callers.module.tenant_run["acme"].aws_sfn_state_machine.this
}

override_resource {
  target = module.callers.module.tenant_run["globex"].aws_sfn_state_machine.this
}

variables {
  name   = "tickets"
  models = ["amazon.nova-micro-v1:0"]
}

run "the_longest_names_fit" {
  command = plan

  providers = {
    aws = aws.singapore
  }

  variables {
    name    = "abcdefghijklmnopqrstuvwx"
    tenants = { abcdefghijklmnopqrstuvwxyz012345 = {}, abcdefghijklmnopqrstuvwxyz012346 = {} }
  }

  assert {
    condition     = length(output.input_bucket) <= 63 && length(output.output_bucket) <= 63
    error_message = "S3 takes 63 characters: ${output.output_bucket}"
  }

  assert {
    condition     = alltrue([for name in values(output.function_names) : length("${name}-ap-southeast-1") <= 64])
    error_message = "IAM and Lambda take 64 characters: ${join(", ", values(output.function_names))}"
  }

  assert {
    condition = length(distinct(values(output.batch_role_arns))) == 2 && alltrue([
      for arn in values(output.batch_role_arns) : length(split("/", arn)[1]) <= 64
    ])
    error_message = "IAM takes 64 characters: ${join(", ", values(output.batch_role_arns))}"
  }
}

run "arns_are_of_the_partition" {
  command = plan

  providers = {
    aws = aws.govcloud
  }

  variables {
    # Known at plan: so is every policy.
    kms_key = { arn = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
    tenants = { acme = {}, globex = {} }
    vpc     = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
  }

  assert {
    condition     = output.pipeline_arn == "arn:aws-us-gov:states:us-gov-west-1:123456789012:stateMachine:tickets-pipeline"
    error_message = output.pipeline_arn
  }

  assert {
    condition = !strcontains(join("", concat(
      values(output.policies), values(output.caller_policies), flatten([for tenant in values(output.tenants) : values(tenant.policies)]),
      values(module.control_plane.definitions), values(module.batch_inference.definitions), values(module.sync_inference.definitions), values(module.assembly.definitions), values(module.callers.definitions),
    )), "arn:aws:")
    error_message = "an ARN of the wrong partition"
  }
}

run "everything_may_be_brought" {
  command = plan

  variables {
    input_bucket             = { name = "my-input" }
    output_bucket            = { name = "my-output" }
    kms_key                  = { arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
    event_bus                = { name = "my-bus" }
    vpc                      = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
    role_path                = "/pipelines/"
    tenants                  = { default = { batch_role = { arn = "arn:aws:iam::123456789012:role/my-batch" } } }
    logs                     = { kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/logs" }
    packages = {
      functions  = { s3_bucket = "artifacts", s3_key = "functions.zip", source_code_hash = "hash" }
      layer_arns = ["arn:aws:lambda:us-east-1:123456789012:layer:mine:1"]
    }
  }

  assert {
    condition     = output.input_bucket == "my-input" && output.output_bucket == "my-output" && output.event_bus_name == "my-bus"
    error_message = "what was brought is not used"
  }

  assert {
    condition     = contains(flatten([for statement in jsondecode(output.policies["finish_run"]).Statement : statement.Resource]), "arn:aws:events:us-east-1:123456789012:event-bus/my-bus")
    error_message = output.policies["finish_run"]
  }

  assert {
    condition     = contains(flatten([for statement in jsondecode(output.policies["submit_job"]).Statement : statement.Resource if statement.Sid == "PassBatchRoles"]), "arn:aws:iam::123456789012:role/my-batch")
    error_message = output.policies["submit_job"]
  }
}

run "settings_are_what_plan_run_reads" {
  command = plan

  variables {
    models         = ["amazon.nova-micro-v1:0"]
    model_settings = { "amazon.nova-micro-v1:0" = { api = "invoke_model", tokens_per_minute = 5000, quotas = { max_jobs_in_flight = 3 }, prices = { input_per_million = 1, output_per_million = 5, batch_factor = 0.5 } } }
    kms_key        = { arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
    run_defaults   = { items_per_batch = 25 }
  }

  assert {
    condition = jsonencode(local.settings.models["amazon.nova-micro-v1:0"]) == jsonencode({
      invokeId           = "amazon.nova-micro-v1:0"
      api                = "invoke_model"
      batch              = null
      quotaLabel         = null
      onDemandQuotaLabel = null
      tokensPerMinute    = 5000
      prices             = { inputPerMillion = 1, outputPerMillion = 5, batchFactor = 0.5, currency = "USD" }
      overrides = {
        minRecordsPerJob  = null
        maxRecordsPerJob  = null
        maxRecordsPerFile = null
        maxFileBytes      = null
        maxJobBytes       = null
        maxJobsInFlight   = 3
      }
    })
    error_message = jsonencode(local.settings.models)
  }

  assert {
    condition     = local.settings.defaults.itemsPerBatch == 25 && local.settings.defaults.jobTimeoutHours == 24 && local.settings.outputKmsKeyArn == var.kms_key.arn
    error_message = jsonencode(local.settings)
  }

  assert {
    condition     = local.settings.tenants.default.batchRoleArn == "arn:aws:iam::123456789012:role/tickets-batch-default-us-east-1" && alltrue([for name, value in local.settings.tenants.default : value == null if !contains(["batchRoleArn", "defaults"], name)])
    error_message = jsonencode(local.settings.tenants)
  }

  assert {
    condition     = jsonencode(local.settings.concurrency) == jsonencode({ cutShards = null, inferBatch = null, reprocessHigh = 5, reprocessNormal = 5, reprocessLow = 2 })
    error_message = jsonencode(local.settings.concurrency)
  }

  assert {
    condition     = local.settings.jobVpc == null && length(local.settings.jobTags) == 0 && length(local.settings.sourceBuckets) == 0
    error_message = jsonencode(local.settings)
  }
}
