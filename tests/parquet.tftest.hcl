# The Parquet layer: none unless it is asked for, then on the functions that need it and no others.
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
  name     = "tickets"
  models   = ["amazon.nova-micro-v1:0"]
  packages = { layer_arns = ["arn:aws:lambda:us-east-1:123456789012:layer:mine:1"] }
}

run "there_is_none_by_default" {
  command = plan

  assert {
    condition     = length(module.bundle.parquet_layer_arns) == 0 && module.control_plane.layers.cut_shards == tolist(["arn:aws:lambda:us-east-1:123456789012:layer:mine:1"])
    error_message = "Without parquet, no function may carry more than the dependencies."
  }
}

run "a_layer_is_carried_by_the_readers_of_corpora_alone" {
  command = plan

  variables {
    parquet = { layer_arn = "arn:aws:lambda:us-east-1:336392948345:layer:AWSSDKPandas-Python313-Arm64:11" }
  }

  assert {
    condition     = alltrue([for function in ["plan_run", "cut_shards"] : contains(module.control_plane.layers[function], var.parquet.layer_arn)])
    error_message = "plan_run and cut_shards read corpora, and must carry the layer."
  }

  assert {
    condition     = alltrue([for function in ["seal_shards", "finish_run", "stop_run"] : !contains(module.control_plane.layers[function], var.parquet.layer_arn)])
    error_message = "No other function of the control plane may carry the layer."
  }
}

run "a_package_makes_a_layer_for_the_runtime" {
  command = plan

  variables {
    parquet = { package = { s3_bucket = "artifacts", s3_key = "pyarrow.zip" } }
    runtime = { python = "python3.12", architecture = "x86_64" }
  }

  assert {
    condition     = length(module.bundle.parquet_layer_arns) == 1
    error_message = "A package must make one layer."
  }
}

run "a_layer_and_a_package_are_refused" {
  command = plan

  variables {
    parquet = {
      layer_arn = "arn:aws:lambda:us-east-1:123456789012:layer:mine:1"
      package   = { path = "pyarrow.zip" }
    }
  }

  expect_failures = [var.parquet]
}

run "a_layer_without_its_version_is_refused" {
  command = plan

  variables {
    parquet = { layer_arn = "arn:aws:lambda:us-east-1:123456789012:layer:mine" }
  }

  expect_failures = [var.parquet]
}
