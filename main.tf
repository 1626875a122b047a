# Where data lies: the input bucket (corpora, shards), the output bucket (results), the key of everything.
module "storage" {
  source = "./modules/storage"

  name          = var.name
  account       = local.account
  tenants       = keys(var.tenants)
  input_bucket  = var.input_bucket
  output_bucket = var.output_bucket
  kms_key       = var.kms_key
  force_destroy = var.force_destroy
  retention     = var.retention
  tags          = var.tags
}

# What is remembered: claims of records, so that each lands once; runs, shards, jobs and their task tokens.
module "ledger" {
  source = "./modules/ledger"

  name                   = var.name
  kms_key_arn            = module.storage.kms_key_arn
  deletion_protection    = var.deletion_protection
  point_in_time_recovery = var.point_in_time_recovery
  tables                 = var.tables
  tags                   = var.tags
}

# The functions' code: two zips, put where Lambda can read them; pyarrow, where it is asked for.
module "bundle" {
  source = "./modules/bundle"

  name         = var.name
  bucket       = module.storage.input_bucket
  packages     = var.packages
  parquet      = var.parquet
  python       = var.runtime.python
  architecture = var.runtime.architecture
}

# How the next stage is told: a bus with one event per finished run.
module "completion" {
  source = "./modules/completion"

  name      = var.name
  account   = local.account
  event_bus = var.event_bus
  tags      = var.tags
}

# Where failures go: queues of failed records and their consumer, dead letters and the operator's command over them,
# manifests that follow late landings, events that reached nobody.
module "failure_lane" {
  source = "./modules/failure_lane"

  name           = var.name
  account        = local.account
  stores         = local.stores
  source_buckets = var.source_buckets
  models         = local.models
  event_bus_name = module.completion.event_bus_name
  assembly_name  = "${var.name}-assemble_results"
  pipeline_name  = "${var.name}-pipeline"
  reprocessing   = var.reprocessing
  alarm_topic    = var.alarm_topic
  runtime        = local.runtime
  tags           = var.tags
}

# Shape B, fan-out: on-demand calls over batches of records.
module "sync_inference" {
  source = "./modules/sync_inference"

  name            = var.name
  account         = local.account
  stores          = local.stores
  source_buckets  = var.source_buckets
  models          = local.models
  reprocess_queue = module.failure_lane.reprocess_queue
  event_bus_name  = module.completion.event_bus_name
  pipeline_name   = "${var.name}-pipeline"
  runtime         = local.runtime
  tags            = var.tags
}

# What is made of a run's results: documents of their chunks, reduced by runs of their own; Parquet; one file in order.
module "assembly" {
  source = "./modules/assembly"

  name               = var.name
  account            = local.account
  stores             = local.stores
  reprocess_queue    = module.failure_lane.reprocess_queue
  event_bus_name     = module.completion.event_bus_name
  pipeline_name      = "${var.name}-pipeline"
  parquet_layer_arns = module.bundle.parquet_layer_arns
  runtime            = local.runtime
  tags               = var.tags
}

# Shape A, shard and submit: one Bedrock batch job per shard, awaited by task token, found again when its event is lost.
module "batch_inference" {
  source = "./modules/batch_inference"

  name                  = var.name
  account               = local.account
  stores                = local.stores
  source_buckets        = var.source_buckets
  models                = local.models
  tenants               = var.tenants
  infer_batch_arn       = module.sync_inference.infer_batch_arn
  fan_out_arn           = module.sync_inference.fan_out_arn
  pipeline_name         = "${var.name}-pipeline"
  reconcile_schedule    = var.reconcile_schedule
  reprocess_queue       = module.failure_lane.reprocess_queue
  undelivered_queue_arn = module.failure_lane.undelivered_queue.arn
  event_bus_name        = module.completion.event_bus_name
  runtime               = local.runtime
  tags                  = var.tags
}

# The run itself: plan, cut, seal, infer in both shapes, account for every record; stop what a broken run left.
module "control_plane" {
  source = "./modules/control_plane"

  name                  = var.name
  account               = local.account
  stores                = local.stores
  models                = local.models
  source_buckets        = var.source_buckets
  settings              = jsonencode(local.settings)
  parquet_layer_arns    = module.bundle.parquet_layer_arns
  shard_and_submit_arn  = module.batch_inference.shard_and_submit_arn
  fan_out_arn           = module.sync_inference.fan_out_arn
  assemble_results_arn  = module.assembly.assemble_results_arn
  reprocess_queue       = module.failure_lane.reprocess_queue
  undelivered_queue_arn = module.failure_lane.undelivered_queue.arn
  event_bus_name        = module.completion.event_bus_name
  runtime               = local.runtime
  tags                  = var.tags
}

# Who may start runs and for which tenant: policies for callers, and a state machine per tenant that pins it.
module "callers" {
  source = "./modules/callers"

  name             = var.name
  account          = local.account
  stores           = local.stores
  tenants          = keys(var.tenants)
  pipeline_arn     = module.control_plane.pipeline_arn
  redrive_function = module.failure_lane.functions.redrive_failures
  runtime          = local.runtime
  tags             = var.tags
}

# Documents that arrive one by one: a queue per priority, pools that become runs, their status. Made only when asked for.
module "intake" {
  source = "./modules/intake"
  count  = var.intake.enabled ? 1 : 0

  name                  = var.name
  account               = local.account
  stores                = local.stores
  source_buckets        = var.source_buckets
  models                = local.models
  event_bus_name        = module.completion.event_bus_name
  pipeline_name         = "${var.name}-pipeline"
  reprocess_queue       = module.failure_lane.reprocess_queue
  undelivered_queue_arn = module.failure_lane.undelivered_queue.arn
  intake                = var.intake
  alarm_topic           = var.alarm_topic
  runtime               = local.runtime
  tags                  = var.tags
}

# How tools find all of this: one SSM parameter, /bulk-inference/{name}.
module "deployment" {
  source = "./modules/deployment"

  name     = var.name
  account  = local.account
  contents = local.deployment
  tags     = var.tags
}

# Destroyed first, and only if deletion_protection is off: so nothing is half destroyed.
module "protection" {
  source = "./modules/protection"

  name      = var.name
  protected = var.deletion_protection

  depends_on = [
    module.storage, module.ledger, module.bundle, module.completion, module.failure_lane, module.sync_inference,
    module.assembly, module.batch_inference, module.control_plane, module.callers, module.intake, module.deployment,
  ]
}
