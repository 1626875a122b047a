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

variables {
  name   = "tickets"
  models = ["amazon.nova-micro-v1:0"]
}

run "wrong_values_are_refused_1" {
  command = plan

  variables {
    # Larger batches than SQS gives without a window.
    intake = { high = { batch_size = 11 } }
    # A name that S3 would refuse.
    name = "Tickets"
    # No models.
    models = []
    # An unknown mode.
    run_defaults = { mode = "online" }
    # A bucket as ARN.
    input_bucket = { name = "arn:aws:s3:::my-input" }
    # An alias instead of a key.
    kms_key = { arn = "arn:aws:kms:us-east-1:123456789012:alias/mine" }
    # A bus as ARN.
    event_bus = { name = "arn:aws:events:us-east-1:123456789012:event-bus/mine" }
    # A network without subnets.
    vpc = { subnet_ids = [], security_group_ids = ["sg-1"] }
    # A boundary by name.
    permissions_boundary_arn = "boundary"
    # A role path without slashes.
    role_path = "pipelines"
    # A tag under AWS's own prefix.
    tags = { "aws:team" = "search" }
    # Shards gone before a redrive.
    retention = { run_files_days = 7 }
    # No units.
    tables = { ledger = { max_write_units = 0 } }
    # A package without a key.
    packages = { functions = { s3_bucket = "artifacts" } }
    # A Python that the bundle is not made for.
    runtime = { python = "python3.10" }
    # An unknown function.
    functions = { infer = { memory_mb = 512 } }
    # A concurrency that SQS refuses.
    reprocessing = { maximum_concurrency = 1 }
    # A topic by its name.
    alarm_topic = { arn = "on-call" }
    # A schedule in words.
    reconcile_schedule = "every 5 minutes"
    # A log retention that CloudWatch refuses.
    logs = { retention_days = 10 }
  }

  expect_failures = [
    var.intake, var.name, var.models, var.run_defaults, var.input_bucket, var.kms_key, var.event_bus, var.vpc, var.permissions_boundary_arn, var.role_path, var.tags, var.retention, var.tables, var.packages, var.runtime, var.functions, var.reprocessing, var.alarm_topic, var.reconcile_schedule, var.logs,
  ]
}

run "an_output_bucket_by_its_arn_is_refused" {
  command = plan

  variables {
    # Beside an input bucket that is sound: what is compared with a wrong value is not looked at.
    output_bucket = { name = "s3://my-output" }
  }

  expect_failures = [var.output_bucket]
}

run "wrong_values_are_refused_2" {
  command = plan

  variables {
    # Neither a layer nor a package.
    parquet = {}
    # A concurrency that SQS refuses.
    intake = { pooling_concurrency = 1 }
    # A name too long.
    name = "abcdefghijklmnopqrstuvwxy"
    # A model twice.
    models = ["amazon.nova-micro-v1:0", "amazon.nova-micro-v1:0"]
    # A job timeout that Bedrock refuses.
    run_defaults = { job_timeout_hours = 12 }
    # Subnets by name.
    vpc = { subnet_ids = ["private-a"], security_group_ids = ["sg-1"] }
    # Versions for ever.
    retention = { noncurrent_version_days = 0 }
    # Half provisioned.
    tables = { runs = { read_units = 5 } }
    # A layer without a version.
    packages = { layer_arns = ["arn:aws:lambda:us-east-1:123456789012:layer:mine"] }
    # An unknown CPU.
    runtime = { architecture = "amd64" }
    # A timeout over Lambda's maximum.
    functions = { infer_batch = { timeout_seconds = 901 } }
    # A retention longer than the dead letters.
    reprocessing = { retention_days = 14 }
    # An unknown log level.
    logs = { level = "VERBOSE" }
  }

  expect_failures = [
    var.parquet, var.intake, var.name, var.models, var.run_defaults, var.vpc, var.retention, var.tables, var.packages, var.runtime, var.functions, var.reprocessing, var.logs,
  ]
}

run "wrong_values_are_refused_3" {
  command = plan

  variables {
    # A layer without a version.
    parquet = { layer_arn = "arn:aws:lambda:us-east-1:123456789012:layer:pyarrow" }
    # A pool that is never full.
    intake = { low = { documents = 0 } }
    # A name that ends in a hyphen.
    name = "tickets-"
    # A model that is neither id nor ARN.
    models = ["Nova Micro"]
    # Claims that expire before a redrive.
    run_defaults = { claim_ttl_days = 14 }
    # More security groups than Lambda and Bedrock take.
    vpc = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1", "sg-2", "sg-3", "sg-4", "sg-5", "sg-6"] }
    # Days before today.
    retention = { results_days = -1 }
    # Too little memory.
    functions = { infer_batch = { memory_mb = 128 } }
    # Larger batches than SQS gives without a window.
    reprocessing = { batch_size = 11 }
    # An unknown format.
    logs = { format = "json" }
  }

  expect_failures = [
    var.parquet, var.intake, var.name, var.models, var.run_defaults, var.vpc, var.retention, var.functions, var.reprocessing, var.logs,
  ]
}

run "wrong_values_are_refused_4" {
  command = plan

  variables {
    # A package that is nowhere.
    parquet = { package = {} }
    # One try.
    intake = { max_receive_count = 1 }
    # An ARN of another type.
    models = ["arn:aws:bedrock:us-east-1:123456789012:guardrail/abc"]
    # A tolerance over 100.
    run_defaults = { tolerated_failure_percentage = 101 }
    # A function that may never run.
    functions = { infer_batch = { reserved_concurrency = 0 } }
    # One try.
    reprocessing = { max_receive_count = 1 }
    # The logs' key by its alias.
    logs = { kms_key_arn = "alias/logs" }
  }

  expect_failures = [
    var.parquet, var.intake, var.models, var.run_defaults, var.functions, var.reprocessing, var.logs,
  ]
}

run "a_tolerance_of_rejected_rows_over_100_is_refused" {
  command = plan

  variables {
    run_defaults = { tolerated_rejected_percentage = 101 }
  }

  expect_failures = [var.run_defaults]
}

run "wrong_values_are_refused_5" {
  command = plan

  variables {
    # A retention longer than the dead letters.
    intake = { retention_days = 14 }
    # Settings of an unknown model.
    model_settings = { "amazon.nova-pro-v1:0" = {} }
    # No tenants.
    tenants = {}
    # Cuts too small.
    run_defaults = { cut_bytes = 1024 }
    # A schedule in words.
    reprocessing = { update_schedule = "every minute" }
  }

  expect_failures = [
    var.intake, var.model_settings, var.tenants, var.run_defaults, var.reprocessing,
  ]
}

run "wrong_values_are_refused_6" {
  command = plan

  variables {
    # A schedule in words.
    intake = { schedule = "every minute" }
    # An unknown API.
    model_settings = { "amazon.nova-micro-v1:0" = { api = "Converse" } }
    # A tenant on the module's own prefix.
    tenants = { config = {} }
    # Batches of nothing.
    run_defaults = { items_per_batch = 0 }
  }

  expect_failures = [
    var.intake, var.model_settings, var.tenants, var.run_defaults,
  ]
}

run "wrong_values_are_refused_7" {
  command = plan

  variables {
    # A quota of zero.
    model_settings = { "amazon.nova-micro-v1:0" = { quotas = { max_jobs_in_flight = 0 } } }
    # A tenant that is no key.
    tenants = { "acme=1" = {} }
    # More canaries than a request may ask for.
    run_defaults = { canary_records = 51 }
  }

  expect_failures = [
    var.model_settings, var.tenants, var.run_defaults,
  ]
}

run "wrong_values_are_refused_8" {
  command = plan

  variables {
    # A price in words.
    model_settings = { "amazon.nova-micro-v1:0" = { prices = { input_per_million = 1, output_per_million = 5, currency = "dollars" } } }
    # A tenant on the word for all.
    tenants = { all = {} }
    # Half a record.
    run_defaults = { max_records = 0.5 }
  }

  expect_failures = [
    var.model_settings, var.tenants, var.run_defaults,
  ]
}

run "wrong_values_are_refused_9" {
  command = plan

  variables {
    # A destination that is no model ARN.
    model_settings = { "amazon.nova-micro-v1:0" = { destination_model_arns = ["amazon.nova-micro-v1:0"] } }
    # A role by its name.
    tenants = { acme = { batch_role = { arn = "acme-batch" } } }
  }

  expect_failures = [
    var.model_settings, var.tenants,
  ]
}

run "wrong_values_are_refused_10" {
  command = plan

  variables {
    # A model that the module does not have.
    tenants = { acme = { models = ["amazon.nova-pro-v1:0"] } }
  }

  expect_failures = [
    var.tenants,
  ]
}

run "wrong_values_are_refused_11" {
  command = plan

  variables {
    # A priority that runs of the tenant may not use.
    tenants = { acme = { priorities = ["low"], defaults = { priority = "high" } } }
  }

  expect_failures = [
    var.tenants,
  ]
}

run "wrong_values_are_refused_12" {
  command = plan

  variables {
    # A ceiling of zero.
    tenants = { acme = { limits = { max_records = 0 } } }
  }

  expect_failures = [
    var.tenants,
  ]
}

run "wrong_values_are_refused_13" {
  command = plan

  variables {
    # A job timeout that Bedrock refuses.
    tenants = { acme = { defaults = { job_timeout_hours = 12 } } }
  }

  expect_failures = [
    var.tenants,
  ]
}

run "wrong_values_are_refused_14" {
  command = plan

  variables {
    # A source bucket as URI.
    source_buckets = { "s3://archive" = {} }
  }

  expect_failures = [
    var.source_buckets,
  ]
}

run "wrong_values_are_refused_15" {
  command = plan

  variables {
    # A source for an unknown tenant.
    source_buckets = { archive = { tenants = ["acme"] } }
  }

  expect_failures = [
    var.source_buckets,
  ]
}

run "wrong_values_are_refused_16" {
  command = plan

  variables {
    # A source's key by its alias.
    source_buckets = { archive = { kms_key_arn = "alias/mine" } }
  }

  expect_failures = [
    var.source_buckets,
  ]
}

run "too_many_messages_per_invocation_are_refused" {
  command = plan

  variables {
    intake = { enabled = true, high = { batch_size = 11 } }
  }

  expect_failures = [
    var.intake,
  ]
}

run "a_pool_without_end_is_refused" {
  command = plan

  variables {
    intake = { low = { minutes = 0 } }
  }

  expect_failures = [
    var.intake,
  ]
}

run "parts_of_a_record_are_refused" {
  command = plan

  variables {
    run_defaults       = { items_per_batch = 2.5 }
    reconcile_schedule = "cron(nonsense)"
    intake             = { schedule = "cron(nonsense)" }
    # A prefix that is no folder: it would open a neighbour's.
    source_buckets = { archive = { prefix = "team" } }
    # One bucket for both.
    input_bucket            = { name = "same-bucket" }
    output_bucket           = { name = "same-bucket" }
    code_signing_config_arn = "csc-0123456789abcdef0"
  }

  expect_failures = [
    var.run_defaults, var.reconcile_schedule, var.intake, var.source_buckets, var.output_bucket, var.code_signing_config_arn,
  ]
}

run "whole_numbers_and_destinations" {
  command = plan

  variables {
    run_defaults = { canary_records = 1.5 }
    named_models = { tickets = { id = "us.amazon.nova-lite-v1:0", destination_model_arns = ["amazon.nova-lite-v1:0"] } }
  }

  expect_failures = [
    var.run_defaults, var.named_models,
  ]
}

run "a_name_that_might_be_an_id_is_refused" {
  command = plan

  variables {
    named_models = { "amazon.nova" = { id = "amazon.nova-lite-v1:0" } }
  }

  expect_failures = [
    var.named_models,
  ]
}
