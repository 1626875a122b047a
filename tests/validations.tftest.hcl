# Input that AWS would refuse late, or that would lose data: refused before anything is planned. Each run holds one wrong
# value per variable, and each of them must be refused.
# By the real provider, with keys that open nothing: no call leaves this machine.

provider "aws" {
  region                      = "us-east-1"
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
  target = module.control_plane.aws_sfn_state_machine.pipeline
}

override_resource {
  target = module.batch_inference.aws_sfn_state_machine.shard_and_submit
}

override_resource {
  target = module.sync_inference.aws_sfn_state_machine.fan_out
}

variables {
  name   = "tickets"
  models = ["amazon.nova-micro-v1:0"]
}

run "wrong_values_are_refused_1" {
  command = plan

  variables {
    # A name that S3 would refuse.
    name = "Tickets"
    # No models.
    models = []
    # No tenants.
    tenants = {}
    # An unknown mode.
    run_defaults = { mode = "online" }
    # A source bucket as URI.
    source_buckets = { "s3://archive" = {} }
    # An alias instead of a key.
    kms_key = { arn = "arn:aws:kms:us-east-1:123456789012:alias/mine" }
    # A network without subnets.
    vpc = { subnet_ids = [], security_group_ids = ["sg-1"] }
    # A boundary by name.
    permissions_boundary_arn = "boundary"
    # A role path without slashes.
    role_path = "pipelines"
    # Shards gone before a redrive.
    retention = { run_files_days = 7 }
    # A package without a key.
    packages = { functions = { s3_bucket = "artifacts" } }
    # A Python that the bundle is not made for.
    runtime = { python = "python3.10" }
    # An unknown function.
    functions = { infer = { memory_mb = 512 } }
    # A concurrency that SQS refuses.
    reprocessing = { maximum_concurrency = 1 }
    # A schedule in words.
    reconcile_schedule = "every 5 minutes"
    # A log retention that CloudWatch refuses.
    logs = { retention_days = 10 }
  }

  expect_failures = [
    var.name, var.models, var.tenants, var.run_defaults, var.source_buckets, var.kms_key, var.vpc, var.permissions_boundary_arn, var.role_path, var.retention, var.packages, var.runtime, var.functions, var.reprocessing, var.reconcile_schedule, var.logs,
  ]
}

run "wrong_values_are_refused_2" {
  command = plan

  variables {
    # Settings of an unknown model.
    model_settings = { "amazon.nova-pro-v1:0" = {} }
    # A name too long.
    name = "abcdefghijklmnopqrstuvwxy"
    # A tenant on the module's own prefix.
    tenants = { config = {} }
    # A job timeout that Bedrock refuses.
    run_defaults = { job_timeout_hours = 12 }
    # Versions for ever.
    retention = { noncurrent_version_days = 0 }
    # An unknown CPU.
    runtime = { architecture = "amd64" }
    # A timeout over Lambda's maximum.
    functions = { infer_batch = { timeout_seconds = 901 } }
    # A retention longer than the dead letters.
    reprocessing = { retention_days = 14 }
    # A topic by its name.
    alarm_topic_arn = "on-call"
    # An unknown log level.
    logs = { level = "VERBOSE" }
  }

  expect_failures = [
    var.model_settings, var.name, var.tenants, var.run_defaults, var.retention, var.runtime, var.functions, var.reprocessing, var.alarm_topic_arn, var.logs,
  ]
}

run "wrong_values_are_refused_3" {
  command = plan

  variables {
    # A model twice.
    models = ["amazon.nova-micro-v1:0", "amazon.nova-micro-v1:0"]
    # A name that ends in a hyphen.
    name = "tickets-"
    # A tenant that is no key.
    tenants = { "acme=1" = {} }
    # Claims that expire before a redrive.
    run_defaults = { claim_ttl_days = 14 }
  }

  expect_failures = [
    var.models, var.name, var.tenants, var.run_defaults,
  ]
}

run "wrong_values_are_refused_4" {
  command = plan

  variables {
    # An unknown API.
    model_settings = { "amazon.nova-micro-v1:0" = { api = "Converse" } }
    # A tolerance over 100.
    run_defaults = { tolerated_failure_percentage = 101 }
  }

  expect_failures = [
    var.model_settings, var.run_defaults,
  ]
}

run "wrong_values_are_refused_5" {
  command = plan

  variables {
    # A model that is neither id nor ARN.
    models = ["Nova Micro"]
    # Cuts too small.
    run_defaults = { cut_bytes = 1024 }
  }

  expect_failures = [
    var.models, var.run_defaults,
  ]
}

run "wrong_values_are_refused_6" {
  command = plan

  variables {
    # A quota of zero.
    model_settings = { "amazon.nova-micro-v1:0" = { quotas = { max_jobs_in_flight = 0 } } }
  }

  expect_failures = [
    var.model_settings,
  ]
}

run "wrong_values_are_refused_7" {
  command = plan

  variables {
    # An ARN of another type.
    models = ["arn:aws:bedrock:us-east-1:123456789012:guardrail/abc"]
  }

  expect_failures = [
    var.models,
  ]
}

run "wrong_values_are_refused_8" {
  command = plan

  variables {
    # A destination that is no model ARN.
    model_settings = { "amazon.nova-micro-v1:0" = { destination_model_arns = ["amazon.nova-micro-v1:0"] } }
  }

  expect_failures = [
    var.model_settings,
  ]
}
