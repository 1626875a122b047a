# Policies hold 10,240 characters a role: many models in many Regions still fit.
# By the real provider, with keys that open nothing: no call leaves this machine.

provider "aws" {
  region                      = "ap-southeast-1"
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
  # The longest names: what does not fit with them fits with none.
  name    = "abcdefghijklmnopqrstuvwx"
  tenants = { abcdefghijklmnopqrstuvwxyz012345 = {} }
  kms_key = { arn = "arn:aws:kms:ap-southeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
  vpc     = { subnet_ids = [for n in range(6) : "subnet-0123456789abcde${n}f"], security_group_ids = ["sg-0123456789abcdef0"] }
}

run "twenty_models_behind_global_profiles_fit" {
  command = plan

  variables {
    models = [for n in range(20) : "global.anthropic.claude-sonnet-4-5-202509${10 + n}-v1:0"]
    model_settings = { for n in range(20) : "global.anthropic.claude-sonnet-4-5-202509${10 + n}-v1:0" => {
      destination_model_arns = [for region in range(30) : "arn:aws:bedrock:ap-northeast-${region}::foundation-model/anthropic.claude-sonnet-4-5-202509${10 + n}-v1:0"]
    } }
  }

  # Beside them a role holds the key's policy.
  assert {
    condition     = alltrue([for role, policy in output.policies : length(jsonencode(jsondecode(policy))) + 400 <= 10240])
    error_message = join(", ", [for role, policy in output.policies : "${role}: ${length(jsonencode(jsondecode(policy)))}" if length(jsonencode(jsondecode(policy))) > 8000])
  }

  # Each model stands for itself: a star takes the place of its Regions, never of a model.
  assert {
    condition = alltrue(flatten([for statement in jsondecode(output.policies["infer_batch"]).Statement : [
      for resource in flatten([statement.Resource]) : can(regex("^arn:aws:bedrock:\\*::foundation-model/anthropic\\.claude-sonnet-4-5-202509[0-9]{2}-v1:0$", resource))
    ] if statement.Sid == "InvokeModelsThroughProfiles"]))
    error_message = output.policies["infer_batch"]
  }

  assert {
    condition = alltrue([for statement in jsondecode(output.policies["infer_batch"]).Statement :
      length(flatten([statement.Resource])) == 20 && length(flatten([statement.Condition.StringEquals["bedrock:InferenceProfileArn"]])) == 20 if statement.Sid == "InvokeModelsThroughProfiles"
    ])
    error_message = output.policies["infer_batch"]
  }
}

run "few_models_name_each_region" {
  command = plan

  variables {
    models = ["us.amazon.nova-lite-v1:0"]
    model_settings = { "us.amazon.nova-lite-v1:0" = {
      destination_model_arns = [for region in ["us-east-1", "us-east-2", "us-west-2"] : "arn:aws:bedrock:${region}::foundation-model/amazon.nova-lite-v1:0"]
    } }
  }

  assert {
    condition     = !strcontains(output.policies["infer_batch"], "bedrock:*")
    error_message = output.policies["infer_batch"]
  }
}
