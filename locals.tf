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
    package                  = module.bundle.package
    layer_arns               = module.bundle.layer_arns
    python                   = var.runtime.python
    architecture             = var.runtime.architecture
    log_retention_days       = var.logs.retention_days
    log_format               = var.logs.format
    log_level                = var.logs.level
    log_kms_key_arn          = var.logs.kms_key_arn != null ? var.logs.kms_key_arn : module.storage.log_kms_key_arn
    tracing                  = var.tracing
    permissions_boundary_arn = var.permissions_boundary_arn
    role_path                = var.role_path
    vpc                      = var.vpc
  }

  # What plan_run reads as config/settings.json.
  settings = {
    name    = var.name
    models  = local.model_settings
    tenants = { for tenant, role_arn in module.batch_inference.batch_role_arns : tenant => { batchRoleArn = role_arn } }
    defaults = {
      mode                       = var.run_defaults.mode
      cutBytes                   = var.run_defaults.cut_bytes
      jobConcurrency             = var.run_defaults.job_concurrency
      inferConcurrency           = var.run_defaults.infer_concurrency
      itemsPerBatch              = var.run_defaults.items_per_batch
      toleratedFailurePercentage = var.run_defaults.tolerated_failure_percentage
      canaryRecords              = var.run_defaults.canary_records
      jobTimeoutHours            = var.run_defaults.job_timeout_hours
      maxAttempts                = var.run_defaults.max_attempts
      claimTtlDays               = var.run_defaults.claim_ttl_days
    }
    sourceBuckets   = sort(keys(var.source_buckets))
    outputKmsKeyArn = module.storage.kms_key_arn
  }
}
