# State machines as rendered at plan, and what their roles may do.
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

run "machines_are_rendered_and_their_roles_fit_them" {
  command = plan

  # Definitions are rendered.
  assert {
    condition     = toset(keys(merge(module.control_plane.definitions, module.batch_inference.definitions, module.sync_inference.definitions, module.assembly.definitions))) == toset(["pipeline", "shard_and_submit", "fan_out", "assemble_results"])
    error_message = "definitions are missing"
  }

  assert {
    condition     = alltrue([for definition in values(merge(module.control_plane.definitions, module.batch_inference.definitions, module.sync_inference.definitions, module.assembly.definitions)) : can(jsondecode(definition)) && !strcontains(definition, "$${")])
    error_message = "not JSON, or a placeholder is left"
  }

  assert {
    condition     = alltrue([for name, definition in merge(module.control_plane.definitions, module.batch_inference.definitions, module.sync_inference.definitions, module.assembly.definitions) : alltrue([for label in flatten(regexall("\"Label\": \"(\\w+)\"", definition)) : strcontains(output.policies[name], "/${label}:*")])])
    error_message = "the label of a map is not in the policy of its machine"
  }

  # A role may invoke exactly what its machine calls.
  assert {
    condition = alltrue([
      for name, definition in merge(module.control_plane.definitions, module.batch_inference.definitions, module.sync_inference.definitions, module.assembly.definitions) :
      toset(flatten(regexall("arn:aws:lambda:[^\"]+", definition))) ==
      toset(flatten([for statement in jsondecode(output.policies[name]).Statement : [for arn in flatten([statement.Resource]) : arn if !endswith(arn, ":*")] if statement.Sid == "InvokeFunctions"]))
    ])
    error_message = "a state machine calls a function that its role may not invoke, or the other way round"
  }

  assert {
    condition = toset([for statement in jsondecode(output.policies["pipeline"]).Statement : statement.Resource if statement.Sid == "StartNested"][0]) == toset([
      "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-shard_and_submit",
      "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-fan_out",
      "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-assemble_results",
    ])
    error_message = output.policies["pipeline"]
  }

  # A distributed map may run follow and redrive its children.
  # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
  assert {
    condition = alltrue(flatten([
      for name, label in { pipeline = "CutCorpus", shard_and_submit = "SubmitShards", fan_out = "InferBatches", assemble_results = "JoinPartitions" } : [
        for wanted in [
          "StartMapChildren states:StartExecution arn:aws:states:us-east-1:123456789012:stateMachine:tickets-${name}",
          "FollowMapChildren states:DescribeExecution arn:aws:states:us-east-1:123456789012:execution:tickets-${name}/${label}:*",
          "FollowMapChildren states:StopExecution arn:aws:states:us-east-1:123456789012:execution:tickets-${name}/${label}:*",
          "FollowMapChildren states:DescribeExecution arn:aws:states:us-east-1:123456789012:execution:tickets-${name}:*",
          "RedriveMapChildren states:RedriveExecution arn:aws:states:us-east-1:123456789012:execution:tickets-${name}/${label}:*",
          "WriteMapResults s3:ListMultipartUploadParts arn:aws:s3:::tickets-output-123456789012-us-east-1/*/runs/*/map-runs/*",
          "WriteMapResults s3:AbortMultipartUpload arn:aws:s3:::tickets-output-123456789012-us-east-1/*/runs/*/map-runs/*",
          ] : contains(flatten([
            for statement in jsondecode(output.policies[name]).Statement : [
              for action in flatten([statement.Action]) : [for resource in flatten([statement.Resource]) : "${statement.Sid} ${action} ${resource}"]
            ]
        ]), wanted)
      ]
    ]))
    error_message = "rights of a Distributed Map are missing"
  }

  assert {
    condition = contains([for statement in jsondecode(output.policies["pipeline"]).Statement : statement.Resource if statement.Sid == "HearOfNested"],
    "arn:aws:events:us-east-1:123456789012:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule")
    error_message = output.policies["pipeline"]
  }
}
