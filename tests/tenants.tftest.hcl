# Tenants: what each may reach, the entry point that pins it, policies for callers, settings, network and tags of its jobs.
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
  target = module.callers.module.tenant_run["acme-2"].aws_sfn_state_machine.this
}

variables {
  name    = "tickets"
  models  = ["amazon.nova-micro-v1:0", "amazon.nova-lite-v1:0"]
  kms_key = { arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
}

run "tenants_are_kept_apart" {
  command = plan

  variables {
    # Names of which one is the beginning of the other.
    tenants = {
      acme = {
        models     = ["amazon.nova-micro-v1:0"]
        priorities = ["low"]
        limits     = { max_records = 1000, job_concurrency = 2 }
        defaults   = { mode = "sync", priority = "low" }
      }
      acme-2 = {}
    }
    source_buckets = { archive = { prefix = "mail/", tenants = ["acme"] } }
    vpc            = { subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = ["sg-1"] }
    tags           = { team = "search" }
  }

  # Nothing of one is in a policy of the other.
  assert {
    condition = alltrue([
      for policy in concat(values(output.tenants["acme"].policies), [output.policies["batch-acme"], output.policies["run-acme"], module.batch_inference.key_policies["acme"]]) :
      !strcontains(policy, "acme-2")
      ]) && alltrue([
      for policy in concat(values(output.tenants["acme-2"].policies), [output.policies["batch-acme-2"], output.policies["run-acme-2"], module.batch_inference.key_policies["acme-2"]]) :
      !can(regex("acme[^-]", policy))
    ])
    error_message = "a tenant's policy knows another tenant"
  }

  # "acme*" would be the beginning of acme-2 as well: a slash, an underscore or the end follows the name.
  assert {
    condition = alltrue(flatten([
      for policy in concat(values(output.tenants["acme"].policies), [output.policies["batch-acme"], output.policies["run-acme"]]) : [
        for match in regexall("acme(.)", policy) : contains(["/", "_", ":", "\""], match[0])
      ]
    ]))
    error_message = output.tenants["acme"].policies.everything
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(output.tenants["acme"].policies.everything).Statement : [
      for resource in flatten([statement.Resource]) : "${statement.Sid} ${resource}"
      ]])) == toset([
      "StartRuns arn:aws:states:us-east-1:123456789012:stateMachine:tickets-run-acme",
      "FindDeployment arn:aws:ssm:us-east-1:123456789012:parameter/bulk-inference/tickets",
      "WatchAndStopRuns arn:aws:states:us-east-1:123456789012:execution:tickets-run-acme:*",
      "WatchAndStopRuns arn:aws:states:us-east-1:123456789012:execution:tickets-pipeline:acme_*",
      "WriteCorpora arn:aws:s3:::tickets-input-123456789012-us-east-1/acme/corpus/*",
      "ListCorpora arn:aws:s3:::tickets-input-123456789012-us-east-1",
      "EncryptCorpora arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
      "ReadResults arn:aws:s3:::tickets-output-123456789012-us-east-1/acme/runs/*",
      "ListResults arn:aws:s3:::tickets-output-123456789012-us-east-1",
      "DecryptResults arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ])
    error_message = output.tenants["acme"].policies.everything
  }

  # Listing and the key are bound to the tenant's places.
  assert {
    condition = alltrue(flatten([for statement in jsondecode(output.tenants["acme"].policies.everything).Statement : [
      for prefix in flatten([statement.Condition.StringLike["s3:prefix"]]) : startswith(prefix, "acme/")
      ] if contains(flatten([statement.Action]), "s3:ListBucket")])) && alltrue([for statement in jsondecode(output.tenants["acme"].policies.everything).Statement :
      statement.Condition.StringEquals["kms:ViaService"] == "s3.us-east-1.amazonaws.com" && length(flatten([statement.Condition.ArnLike["kms:EncryptionContext:aws:s3:arn"]])) == 2
      if startswith(flatten([statement.Action])[0], "kms:")
    ])
    error_message = output.tenants["acme"].policies.everything
  }

  # The batch role uses the key through S3, for its tenant.
  assert {
    condition = jsondecode(module.batch_inference.key_policies["acme"]).Statement[0].Condition == {
      StringEquals = { "kms:ViaService" = "s3.us-east-1.amazonaws.com" }
      ArnLike = { "kms:EncryptionContext:aws:s3:arn" = [
        "arn:aws:s3:::tickets-input-123456789012-us-east-1",
        "arn:aws:s3:::tickets-input-123456789012-us-east-1/acme/*",
        "arn:aws:s3:::tickets-output-123456789012-us-east-1",
        "arn:aws:s3:::tickets-output-123456789012-us-east-1/acme/*",
      ] }
    }
    error_message = module.batch_inference.key_policies["acme"]
  }

  # The entry point: the tenant is pinned, the pipeline started under its prefix, and nothing else may be done.
  assert {
    condition     = jsondecode(module.callers.definitions["run-acme"]).States["Pin Tenant"].Result == "acme" && jsondecode(module.callers.definitions["run-acme"]).States["Pin Tenant"].ResultPath == "$.run.tenant" && jsondecode(module.callers.definitions["run-acme"]).States["Pipeline"].Parameters["Name.$"] == "States.Format('acme_{}', $$.Execution.Name)"
    error_message = module.callers.definitions["run-acme"]
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(output.policies["run-acme"]).Statement : statement.Resource if startswith(flatten([statement.Action])[0], "states:")])) == toset([
      "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-pipeline",
      "arn:aws:states:us-east-1:123456789012:execution:tickets-pipeline:acme_*",
    ])
    error_message = output.policies["run-acme"]
  }

  assert {
    condition     = output.tenants["acme"].state_machine_arn == "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-run-acme" && output.tenants["acme"].run_prefix == "acme_"
    error_message = jsonencode(output.tenants["acme"])
  }

  # What plan_run reads.
  assert {
    condition     = jsonencode(local.settings.tenants["acme"].models) == jsonencode(["amazon.nova-micro-v1:0"]) && jsonencode(local.settings.tenants["acme"].priorities) == jsonencode(["low"]) && local.settings.tenants["acme"].maxRecords == 1000 && local.settings.tenants["acme"].jobConcurrency == 2 && local.settings.tenants["acme"].defaults.mode == "sync" && local.settings.tenants["acme"].defaults.priority == "low" && local.settings.tenants["acme-2"].models == null
    error_message = jsonencode(local.settings.tenants)
  }

  assert {
    condition     = jsonencode(local.settings.sourceBuckets) == jsonencode({ archive = { prefix = "mail/", tenants = ["acme"] } }) && jsonencode(local.settings.jobVpc) == jsonencode({ subnetIds = ["subnet-1", "subnet-2"], securityGroupIds = ["sg-1"] }) && jsonencode(local.settings.jobTags) == jsonencode({ team = "search" })
    error_message = jsonencode(local.settings)
  }

  # What Bedrock needs of a network: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-vpc.html
  assert {
    condition     = toset([for statement in jsondecode(output.policies["batch-acme"]).Statement : statement.Sid if startswith(flatten([statement.Action])[0], "ec2:")]) == toset(["LookAtNetwork", "CreateInterfacesOfJobs", "CreateInterfacesInSubnets", "UseInterfacesOfJobs", "TagInterfacesOfJobs"])
    error_message = output.policies["batch-acme"]
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(output.policies["batch-acme"]).Statement : statement.Resource if statement.Sid == "CreateInterfacesInSubnets"])) == toset([
      "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-1", "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-2", "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1",
    ])
    error_message = output.policies["batch-acme"]
  }
}

run "one_tenant_starts_the_pipeline_itself" {
  command = plan

  variables {
    vpc = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"], batch_jobs = false }
  }

  assert {
    condition     = length(module.callers.definitions) == 0 && output.tenants["default"].state_machine_arn == output.pipeline_arn && output.tenants["default"].run_prefix == ""
    error_message = jsonencode(output.tenants["default"])
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(output.caller_policies.start_runs).Statement : statement.Resource])) == toset([
      "arn:aws:states:us-east-1:123456789012:stateMachine:tickets-pipeline",
      "arn:aws:ssm:us-east-1:123456789012:parameter/bulk-inference/tickets",
      "arn:aws:states:us-east-1:123456789012:execution:tickets-pipeline:*",
    ])
    error_message = output.caller_policies.start_runs
  }

  assert {
    condition     = jsondecode(output.caller_policies.redrive).Statement[0].Resource == "arn:aws:lambda:us-east-1:123456789012:function:tickets-redrive_failures" && jsondecode(output.caller_policies.redrive).Statement[0].Action == "lambda:InvokeFunction"
    error_message = output.caller_policies.redrive
  }

  # Functions in a network, jobs outside of it.
  assert {
    condition     = local.settings.jobVpc == null && !strcontains(output.policies["batch-default"], "ec2:") && strcontains(output.policies["plan_run"], "ec2:CreateNetworkInterface")
    error_message = output.policies["batch-default"]
  }
}
