# Each nested module by itself: its own example plans.
# By the real provider, with keys that open nothing: no call leaves this machine.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "storage_alone" {
  command = plan

  module {
    source = "./modules/storage/examples/alone"
  }

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  assert {
    condition     = module.storage.input_bucket == "alone-input-123456789012-us-east-1"
    error_message = module.storage.input_bucket
  }
}

run "completion_alone" {
  command = plan

  module {
    source = "./modules/completion/examples/alone"
  }

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  assert {
    condition     = module.completion.event_bus_arn == "arn:aws:events:us-east-1:123456789012:event-bus/alone"
    error_message = module.completion.event_bus_arn
  }
}

run "deployment_alone" {
  command = plan

  module {
    source = "./modules/deployment/examples/alone"
  }

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  assert {
    condition     = module.deployment.parameter_name == "/bulk-inference/alone" && module.deployment.deployment.version == 1
    error_message = jsonencode(module.deployment)
  }
}

run "ledger_alone" {
  command = plan

  module {
    source = "./modules/ledger/examples/alone"
  }

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/mine"
  }

  assert {
    condition     = module.ledger.ledger_table == "alone-ledger"
    error_message = module.ledger.ledger_table
  }
}

run "bundle_alone" {
  command = plan

  module {
    source = "./modules/bundle/examples/alone"
  }

  variables {
    bucket = "artifacts"
  }

  assert {
    condition     = module.bundle.package.s3_bucket == "artifacts" && module.bundle.package.s3_key == "config/functions.zip"
    error_message = jsonencode(module.bundle.package)
  }
}

run "callers_alone" {
  command = plan

  module {
    source = "./modules/callers/examples/alone"
  }

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  override_resource {
    target = module.callers.module.tenant_run["acme"].aws_sfn_state_machine.this
  }

  override_resource {
    target = module.callers.module.tenant_run["globex"].aws_sfn_state_machine.this
  }

  variables {
    pipeline_arn         = "arn:aws:states:us-east-1:123456789012:stateMachine:theirs-pipeline"
    kms_key_arn          = "arn:aws:kms:us-east-1:123456789012:key/mine"
    redrive_failures_arn = "arn:aws:lambda:us-east-1:123456789012:function:theirs-redrive_failures"
  }

  assert {
    condition     = strcontains(module.callers.definitions["run-acme"], var.pipeline_arn) && strcontains(module.callers.tenants["acme"].policies.start_runs, ":execution:theirs-pipeline:acme_*")
    error_message = module.callers.tenants["acme"].policies.start_runs
  }
}

run "failure_lane_alone" {
  command = plan

  module {
    source = "./modules/failure_lane/examples/alone"
  }

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  assert {
    condition     = module.failure_lane.dead_letter_queue.name == "alone-reprocess-dead-letter"
    error_message = "no dead-letter queue"
  }
}

run "sync_inference_alone" {
  command = plan

  module {
    source = "./modules/sync_inference/examples/alone"
  }

  override_data {
    target = module.beneath.data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  override_resource {
    target = module.sync_inference.module.fan_out.aws_sfn_state_machine.this
  }

  assert {
    condition     = module.sync_inference.fan_out_arn == "arn:aws:states:us-east-1:123456789012:stateMachine:alone-fan_out"
    error_message = module.sync_inference.fan_out_arn
  }
}

run "batch_inference_alone" {
  command = plan

  module {
    source = "./modules/batch_inference/examples/alone"
  }

  override_data {
    target = module.beneath.data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  override_resource {
    target = module.sync_inference.module.fan_out.aws_sfn_state_machine.this
  }

  override_resource {
    target = module.batch_inference.module.shard_and_submit.aws_sfn_state_machine.this
  }

  assert {
    condition     = module.batch_inference.shard_and_submit_arn == "arn:aws:states:us-east-1:123456789012:stateMachine:alone-shard_and_submit"
    error_message = module.batch_inference.shard_and_submit_arn
  }
}

run "assembly_alone" {
  command = plan

  module {
    source = "./modules/assembly/examples/alone"
  }

  override_data {
    target = module.beneath.data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  override_resource {
    target = module.assembly.module.assemble_results.aws_sfn_state_machine.this
  }

  assert {
    condition     = length(module.assembly.functions) > 0
    error_message = "no functions"
  }
}

run "intake_alone" {
  command = plan

  module {
    source = "./modules/intake/examples/alone"
  }

  override_data {
    target = module.beneath.data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  assert {
    condition     = length(module.intake.functions) > 0
    error_message = "no functions"
  }
}

run "function_alone" {
  command = plan

  module {
    source = "./modules/function/examples/alone"
  }

  override_data {
    target = module.beneath.data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  assert {
    condition     = module.intake_status.name == "alone-intake_status" && strcontains(module.intake_status.policy, "alone-input-123456789012-us-east-1/*/prompts/*")
    error_message = module.intake_status.policy
  }
}

run "state_machine_alone" {
  command = plan

  module {
    source = "./modules/state_machine/examples/alone"
  }

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  override_resource {
    target = module.nightly.aws_sfn_state_machine.this
  }

  variables {
    pipeline_arn         = "arn:aws:states:us-east-1:123456789012:stateMachine:theirs-pipeline"
    kms_key_arn          = "arn:aws:kms:us-east-1:123456789012:key/mine"
    redrive_failures_arn = "arn:aws:lambda:us-east-1:123456789012:function:theirs-redrive_failures"
  }

  assert {
    condition     = strcontains(module.nightly.policy, ":execution:theirs-pipeline:acme_*") && strcontains(module.nightly.definition, var.pipeline_arn)
    error_message = module.nightly.policy
  }
}

run "protection_alone" {
  command = plan

  module {
    source = "./modules/protection/examples/alone"
  }

  assert {
    condition     = var.protected
    error_message = "it is not protected by default"
  }
}
