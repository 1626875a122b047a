data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  account = {
    partition  = data.aws_partition.current.partition
    dns_suffix = data.aws_partition.current.dns_suffix
    region     = data.aws_region.current.id
    id         = data.aws_caller_identity.current.account_id
  }

  stores = {
    input_bucket  = module.storage.input_bucket
    output_bucket = module.storage.output_bucket
    ledger_table  = module.ledger.ledger_table
    runs_table    = module.ledger.runs_table
    kms_key_arn   = module.storage.kms_key_arn
  }

  runtime = {
    package      = module.bundle.package
    layer_arns   = module.bundle.layer_arns
    python       = var.runtime.python
    architecture = var.runtime.architecture
    tracing      = var.tracing
    logs         = merge(var.logs, { kms_key_arn = var.logs.kms_key_arn != null ? var.logs.kms_key_arn : module.storage.log_kms_key_arn })
    roles        = { path = var.role_path, permissions_boundary_arn = var.permissions_boundary_arn }
    vpc          = var.vpc
    functions    = var.functions
  }

  # What plan_run reads as config/settings.json.
  settings = {
    name   = var.name
    models = local.model_settings
    tenants = { for tenant, settings in var.tenants : tenant => {
      batchRoleArn     = module.batch_inference.batch_role_arns[tenant]
      models           = settings.models
      priorities       = settings.priorities
      maxRecords       = settings.limits.max_records
      maxTokens        = settings.limits.max_tokens
      jobConcurrency   = settings.limits.job_concurrency
      inferConcurrency = settings.limits.infer_concurrency
      defaults = {
        mode                        = settings.defaults.mode
        priority                    = settings.defaults.priority
        cutBytes                    = settings.defaults.cut_bytes
        jobConcurrency              = settings.defaults.job_concurrency
        inferConcurrency            = settings.defaults.infer_concurrency
        itemsPerBatch               = settings.defaults.items_per_batch
        toleratedFailurePercentage  = settings.defaults.tolerated_failure_percentage
        toleratedRejectedPercentage = settings.defaults.tolerated_rejected_percentage
        canaryRecords               = settings.defaults.canary_records
        jobTimeoutHours             = settings.defaults.job_timeout_hours
        maxAttempts                 = settings.defaults.max_attempts
      }
    } }
    defaults = {
      mode                        = var.run_defaults.mode
      cutBytes                    = var.run_defaults.cut_bytes
      jobConcurrency              = var.run_defaults.job_concurrency
      inferConcurrency            = var.run_defaults.infer_concurrency
      itemsPerBatch               = var.run_defaults.items_per_batch
      toleratedFailurePercentage  = var.run_defaults.tolerated_failure_percentage
      toleratedRejectedPercentage = var.run_defaults.tolerated_rejected_percentage
      canaryRecords               = var.run_defaults.canary_records
      jobTimeoutHours             = var.run_defaults.job_timeout_hours
      maxAttempts                 = var.run_defaults.max_attempts
      claimTtlDays                = var.run_defaults.claim_ttl_days
      maxRecords                  = var.run_defaults.max_records
      maxTokens                   = var.run_defaults.max_tokens
      maxRecordsPerShard          = var.run_defaults.max_records_per_shard
      maxBytesPerShard            = var.run_defaults.max_bytes_per_shard
    }
    concurrency = {
      cutShards       = try(var.functions.cut_shards.reserved_concurrency, null)
      inferBatch      = try(var.functions.infer_batch.reserved_concurrency, null)
      reprocessHigh   = module.failure_lane.maximum_concurrency.high
      reprocessNormal = module.failure_lane.maximum_concurrency.normal
      reprocessLow    = module.failure_lane.maximum_concurrency.low
    }
    sourceBuckets   = { for bucket, settings in var.source_buckets : bucket => { prefix = settings.prefix, tenants = settings.tenants } }
    jobVpc          = try(var.vpc.batch_jobs, false) ? { subnetIds = var.vpc.subnet_ids, securityGroupIds = var.vpc.security_group_ids } : null
    jobTags         = var.tags
    outputKmsKeyArn = module.storage.kms_key_arn
  }

  # What tools know of this deployment: modules/deployment.
  deployment = {
    bundle        = { sha256 = filesha256("${path.module}/lambdas/dist/functions.zip") }
    buckets       = { input = module.storage.input_bucket, output = module.storage.output_bucket }
    kmsKeyArn     = module.storage.kms_key_arn
    tables        = { ledger = module.ledger.ledger_table, runs = module.ledger.runs_table }
    stateMachines = { pipeline = module.control_plane.pipeline_arn }
    tenants = { for tenant, one in module.callers.tenants : tenant => {
      stateMachineArn = one.state_machine_arn
      runPrefix       = one.run_prefix
      corpusUri       = "s3://${module.storage.input_bucket}/${tenant}/corpus/"
    } }
    functions = {
      for handler in ["redrive_failures", "intake_status"] : handler => local.function_names[handler]
      if contains(keys(local.function_names), handler)
    }
    queues   = { deadLetter = module.failure_lane.dead_letter_queue.url, undelivered = module.failure_lane.undelivered_queue.url }
    eventBus = module.completion.event_bus_name
    intake   = one([for intake in module.intake : { queueUrls = intake.queue_urls }])
  }

  function_names = merge(
    module.control_plane.functions,
    module.batch_inference.functions,
    module.sync_inference.functions,
    module.assembly.functions,
    module.failure_lane.functions,
    one(module.intake[*].functions),
  )
}
