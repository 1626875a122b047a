# Policies as rendered at plan.
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
  models = ["us.amazon.nova-lite-v1:0", "amazon.nova-micro-v1:0"]
  model_settings = {
    "us.amazon.nova-lite-v1:0" = {
      destination_model_arns = [
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0",
      ]
    }
  }
  tenants = { acme = {}, globex = {} }
  # A key that is made has its ARN at apply, and the policies that name it can be read only then.
  kms_key = { arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
}

run "each_role_may_do_its_work_and_no_more" {
  command = plan

  # Every role has a policy that can be read at plan.
  assert {
    condition = toset(keys(output.policies)) == toset([
      "plan_run", "cut_shards", "seal_shards", "submit_job", "resume_job", "collect_results", "infer_batch",
      "reprocess_records", "redrive_failures", "update_runs", "reconcile_jobs", "finish_run", "stop_run",
      "pipeline", "shard_and_submit", "fan_out", "reconcile_schedule", "update_schedule", "batch-acme", "batch-globex", "run-acme", "run-globex",
      "assemble_results", "plan_assembly", "sort_chunks", "join_documents", "order_results", "export_parquet", "close_assembly",
      "input_bucket", "output_bucket", "undelivered",
    ])
    error_message = "policies of: ${join(", ", keys(output.policies))}"
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : length(jsondecode(policy).Statement) > 0])
    error_message = "a policy without statements"
  }

  assert {
    condition = alltrue([
      for policy in values(output.policies) :
      alltrue([for statement in jsondecode(policy).Statement : can(regex("^[A-Za-z0-9]+$", statement.Sid))]) &&
      length(distinct([for statement in jsondecode(policy).Statement : statement.Sid])) == length(jsondecode(policy).Statement)
    ])
    error_message = "a statement without a Sid, or two of one Sid in a policy"
  }

  # A star stands only where aws has no resource type.
  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : flatten([statement.Action]) if contains(flatten([statement.Resource]), "*")
      ]
      ])) == toset([
      "bedrock:ListModelInvocationJobs",
      "logs:CreateLogDelivery", "logs:CreateLogStream", "logs:DeleteLogDelivery", "logs:DescribeLogGroups",
      "logs:DescribeResourcePolicies", "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutLogEvents",
      "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
      "servicequotas:GetAWSDefaultServiceQuota", "servicequotas:ListAWSDefaultServiceQuotas", "servicequotas:ListServiceQuotas",
      "xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    ])
    error_message = "actions allowed on *: ${join(", ", distinct(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : flatten([statement.Action]) if contains(flatten([statement.Resource]), "*")
      ]
    ])))}"
  }

  assert {
    condition = alltrue(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : [for action in flatten([statement.Action]) : !strcontains(action, "*")]
        if statement.Effect == "Allow"
      ]
    ]))
    error_message = "an action with a wildcard is allowed"
  }

  assert {
    condition = alltrue(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : [
          for resource in flatten([statement.Resource]) : resource == "*" || startswith(resource, "arn:aws:")
        ]
      ]
    ]))
    error_message = "a resource that is neither an ARN nor *"
  }

  # Dangerous actions are for their roles alone.
  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "iam:PassRole")
      ]
    ])) == toset(["submit_job"])
    error_message = "iam:PassRole is for submit_job alone"
  }

  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "bedrock:CreateModelInvocationJob")
      ]
    ])) == toset(["submit_job"])
    error_message = "bedrock:CreateModelInvocationJob is for submit_job alone"
  }

  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "bedrock:StopModelInvocationJob")
      ]
    ])) == toset(["stop_run", "reconcile_jobs"])
    error_message = "bedrock:StopModelInvocationJob is for stop_run, reconcile_jobs alone"
  }

  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "bedrock:InvokeModel")
      ]
    ])) == toset(["plan_run", "infer_batch", "reprocess_records", "batch-acme", "batch-globex"])
    error_message = "bedrock:InvokeModel is for plan_run, infer_batch, reprocess_records, batch-acme, batch-globex alone"
  }

  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "dynamodb:PartiQLInsert")
      ]
    ])) == toset(["collect_results", "infer_batch", "reprocess_records"])
    error_message = "dynamodb:PartiQLInsert is for collect_results, infer_batch, reprocess_records alone"
  }

  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "sqs:DeleteMessage")
      ]
    ])) == toset(["reprocess_records", "redrive_failures"])
    error_message = "sqs:DeleteMessage is for reprocess_records, redrive_failures alone"
  }

  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "sqs:StartMessageMoveTask")
      ]
    ])) == toset(["redrive_failures"])
    error_message = "sqs:StartMessageMoveTask is for redrive_failures alone"
  }

  # Dead letters come from reprocess_records alone, and leave by redrive_failures alone.
  assert {
    condition = jsonencode({ for role, policy in output.policies : role => sort(flatten([
      for statement in jsondecode(policy).Statement : statement.Action
      if statement.Effect == "Allow" && anytrue([for resource in flatten([statement.Resource]) : endswith(resource, ":tickets-reprocess-dead-letter")])
      ])) if strcontains(policy, "tickets-reprocess-dead-letter") }) == jsonencode({
      reprocess_records = ["sqs:SendMessage"]
      redrive_failures  = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ListMessageMoveTasks", "sqs:ReceiveMessage", "sqs:StartMessageMoveTask"]
    })
    error_message = "another role reaches the dead letters, or one of theirs with other actions"
  }

  # Failures of every priority can be sent by whoever finds them.
  assert {
    condition = alltrue(flatten([for role in ["collect_results", "infer_batch", "reprocess_records", "redrive_failures"] : [
      for suffix in ["", "-high", "-low"] : anytrue([
        for statement in jsondecode(output.policies[role]).Statement :
        contains(flatten([statement.Action]), "sqs:SendMessage") && contains(flatten([statement.Resource]), "arn:aws:sqs:us-east-1:123456789012:tickets-reprocess${suffix}")
      ])
    ]]))
    error_message = "a role cannot send to the queue of some priority"
  }

  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "states:SendTaskSuccess")
      ]
    ])) == toset(["submit_job", "resume_job", "reconcile_jobs"])
    error_message = "states:SendTaskSuccess is for submit_job, resume_job, reconcile_jobs alone"
  }

  assert {
    condition = toset(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : role if contains(flatten([statement.Action]), "events:PutEvents")
      ]
    ])) == toset(["finish_run", "stop_run", "reconcile_jobs", "update_runs"])
    error_message = "events:PutEvents is for finish_run, stop_run, reconcile_jobs, update_runs alone"
  }

  assert {
    condition = length(flatten([
      for role, policy in output.policies : [
        for statement in jsondecode(policy).Statement : [
          for action in flatten([statement.Action]) : action if contains(["s3:DeleteObject", "s3:DeleteObjectVersion", "dynamodb:Scan", "dynamodb:DeleteTable", "sqs:PurgeQueue"], action)
        ]
      ]
    ])) == 0
    error_message = "nobody deletes objects, empties a queue or scans a table"
  }

  # Batch roles are passed to bedrock alone.
  assert {
    condition = [for statement in jsondecode(output.policies["submit_job"]).Statement : statement if statement.Sid == "PassBatchRoles"] == [{
      Sid    = "PassBatchRoles"
      Effect = "Allow"
      Action = "iam:PassRole"
      Resource = [
        "arn:aws:iam::123456789012:role/tickets-batch-globex-us-east-1",
        "arn:aws:iam::123456789012:role/tickets-batch-acme-us-east-1",
      ]
      Condition = { StringEquals = { "iam:PassedToService" = "bedrock.amazonaws.com" } }
    }]
    error_message = output.policies["submit_job"]
  }

  # A batch role reads and writes its tenant alone.
  assert {
    condition     = !strcontains(output.policies["batch-acme"], "globex") && !strcontains(output.policies["batch-globex"], "acme")
    error_message = "a batch role knows another tenant"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.policies["batch-acme"]).Statement : [
        for resource in flatten([statement.Resource]) : "${join(",", flatten([statement.Action]))} ${resource}"
      ] if !contains(flatten([statement.Action]), "bedrock:InvokeModel")
      ])) == toset([
      "s3:GetObject arn:aws:s3:::tickets-input-123456789012-us-east-1/acme/runs/*/shards/*",
      "s3:PutObject,s3:GetObject arn:aws:s3:::tickets-output-123456789012-us-east-1/acme/jobs/*",
      "s3:ListBucket arn:aws:s3:::tickets-input-123456789012-us-east-1",
      "s3:ListBucket arn:aws:s3:::tickets-output-123456789012-us-east-1",
    ])
    error_message = output.policies["batch-acme"]
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(output.policies["batch-acme"]).Statement :
      alltrue([for prefix in flatten([statement.Condition.StringLike["s3:prefix"]]) : startswith(prefix, "acme/")])
      if flatten([statement.Action]) == ["s3:ListBucket"]
    ])
    error_message = "a batch role lists more than its tenant"
  }

  # Models are invoked directly by profile and behind the profile.
  assert {
    condition = [for statement in jsondecode(output.policies["infer_batch"]).Statement : statement if contains(flatten([statement.Action]), "bedrock:InvokeModel")] == [
      {
        Sid      = "InvokeModels"
        Effect   = "Allow"
        Action   = "bedrock:InvokeModel"
        Resource = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0"
      },
      {
        Sid      = "InvokeProfiles"
        Effect   = "Allow"
        Action   = "bedrock:InvokeModel"
        Resource = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
      },
      {
        Sid    = "InvokeModelsThroughProfiles"
        Effect = "Allow"
        Action = "bedrock:InvokeModel"
        Resource = [
          "arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0",
          "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
        ]
        Condition = { StringEquals = { "bedrock:InferenceProfileArn" = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0" } }
      },
    ]
    error_message = output.policies["infer_batch"]
  }

  # Buckets refuse plain http.
  assert {
    condition = alltrue([for bucket in ["input", "output"] : jsondecode(output.policies["${bucket}_bucket"]).Statement[0] == {
      Sid       = "DenyWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource = [
        "arn:aws:s3:::tickets-${bucket}-123456789012-us-east-1/*",
        "arn:aws:s3:::tickets-${bucket}-123456789012-us-east-1",
      ]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }])
    error_message = output.policies["input_bucket"]
  }
}

run "a_global_profile_needs_the_model_without_a_region" {
  command = plan

  variables {
    models = ["global.amazon.nova-2-lite-v1:0"]
    model_settings = {
      "global.amazon.nova-2-lite-v1:0" = { destination_model_arns = ["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-2-lite-v1:0"] }
    }
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(output.policies["infer_batch"]).Statement : statement.Resource if statement.Sid == "InvokeModelsThroughProfiles"])) == toset([
      "arn:aws:bedrock:::foundation-model/amazon.nova-2-lite-v1:0",
      "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-2-lite-v1:0",
    ])
    error_message = output.policies["infer_batch"]
  }
}

run "arns_are_taken_as_they_are" {
  command = plan

  variables {
    models = [
      "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0",
      "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdef012345",
    ]
    model_settings = {
      "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdef012345" = {
        destination_model_arns = ["arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0"]
      }
    }
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(output.policies["submit_job"]).Statement : statement.Resource if statement.Sid == "CreateJobs"])) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*",
      "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0",
      "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdef012345",
      "arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0",
    ])
    error_message = output.policies["submit_job"]
  }
}
