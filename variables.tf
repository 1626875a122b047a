# Required.

variable "name" {
  description = "Name of this pipeline. Prefix of everything it makes and of its Bedrock job names, so two pipelines in one account and Region need two names."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name)) && !can(regex("^(xn--|sthree-)", var.name))
    error_message = "name must be 2 to 24 characters of a-z, 0-9 and -, begin with a letter, end with a letter or digit, and not begin with xn-- or sthree- (S3 reserves them): for example \"tickets\"."
  }
}

variable "models" {
  description = "Models that runs may use, as a run request names them: foundation model ids, inference profile ids, or ARNs of foundation models, inference profiles or application inference profiles. A profile is looked up in Bedrock at plan, for the models behind it, unless model_settings names them."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.models) > 0 && length(distinct(var.models)) == length(var.models)
    error_message = "models must name at least one model, and none twice: for example [\"us.anthropic.claude-haiku-4-5-20251001-v1:0\"]."
  }

  validation {
    condition = alltrue([
      for model in var.models :
      can(regex("^[a-z0-9-]+\\.[A-Za-z0-9.:_-]+$", model)) ||
      can(regex("^arn:aws(-[a-z-]+)?:bedrock:[a-z0-9-]*:([0-9]{12})?:(foundation-model|inference-profile|application-inference-profile)/[A-Za-z0-9.:_-]+$", model))
    ])
    error_message = "each of models must be a foundation model id (\"amazon.nova-lite-v1:0\"), an inference profile id (\"us.amazon.nova-lite-v1:0\"), or a Bedrock ARN of type foundation-model, inference-profile or application-inference-profile."
  }
}

# Models and runs.

variable "model_settings" {
  description = <<-EOT
    What the module should not find out by itself about a model, by its entry in models. Everything is optional.
    - api: "converse" or "invoke_model"; default: what the model's family prefers.
    - batch: whether the model takes batch jobs; default: what the bundle knows of its family.
    - quota_label, on_demand_quota_label: the model's name in its batch and on-demand quotas ("Claude Haiku 4.5", "Anthropic Claude Haiku 4.5").
    - tokens_per_minute: on-demand rate that this pipeline may use, in tokens; default: the account's quota.
    - destination_model_arns: for a profile, the foundation model ARNs of every Region it routes to. Given, no data source is read.
    - quotas: batch quotas that win over Service Quotas (records, bytes, jobs).
    - prices: what a million tokens cost you on demand, and the share of it that batch jobs cost; used for estimates and reports of runs that name none.
  EOT
  type = map(object({
    api                    = optional(string)
    batch                  = optional(bool)
    quota_label            = optional(string)
    on_demand_quota_label  = optional(string)
    tokens_per_minute      = optional(number)
    destination_model_arns = optional(list(string))
    quotas = optional(object({
      min_records_per_job  = optional(number)
      max_records_per_job  = optional(number)
      max_records_per_file = optional(number)
      max_file_bytes       = optional(number)
      max_job_bytes        = optional(number)
      max_jobs_in_flight   = optional(number)
    }), {})
    prices = optional(object({
      input_per_million  = number
      output_per_million = number
      batch_factor       = optional(number, 1)
      currency           = optional(string, "USD")
    }))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for model in keys(var.model_settings) : contains(var.models, model)])
    error_message = "each key of model_settings must be spelled as in models. Unknown: ${join(", ", [for model in keys(var.model_settings) : model if !contains(var.models, model)])}."
  }

  validation {
    condition     = alltrue([for settings in values(var.model_settings) : settings.api == null ? true : contains(["converse", "invoke_model"], settings.api)])
    error_message = "model_settings[…].api must be \"converse\" or \"invoke_model\"."
  }

  validation {
    condition = alltrue(flatten([
      for settings in values(var.model_settings) : [
        for value in concat([settings.tokens_per_minute], values(settings.quotas)) : value == null ? true : value >= 1 && floor(value) == value
      ]
    ]))
    error_message = "model_settings[…].tokens_per_minute and every value of quotas must be a whole number of at least 1: for example max_jobs_in_flight = 20."
  }

  validation {
    condition = alltrue([
      for settings in values(var.model_settings) : settings.prices == null ? true :
      settings.prices.input_per_million >= 0 && settings.prices.output_per_million >= 0 && settings.prices.batch_factor >= 0 && settings.prices.batch_factor <= 1 && can(regex("^[A-Z]{3}$", settings.prices.currency))
    ])
    error_message = "model_settings[…].prices needs prices of 0 or more per million tokens, a batch_factor of 0 to 1 and a currency of three capital letters: for example { input_per_million = 1, output_per_million = 5, batch_factor = 0.5, currency = \"USD\" }."
  }

  validation {
    condition = alltrue(flatten([
      for settings in values(var.model_settings) : [
        for arn in coalesce(settings.destination_model_arns, []) : can(regex("^arn:aws(-[a-z-]+)?:bedrock:[a-z0-9-]*::foundation-model/.+$", arn))
      ]
    ]))
    error_message = "model_settings[…].destination_model_arns must hold foundation model ARNs: for example \"arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0\"."
  }
}

variable "tenants" {
  description = <<-EOT
    Tenants by name: each has its own prefix in both buckets and its own Bedrock batch role, scoped to that prefix. A run names its tenant. With two tenants or more each also gets a state machine that starts runs of that tenant alone (see the output tenants).
    - batch_role_arn: an existing role instead of one made here. It needs what modules/batch_inference/batch_role.tf grants.
    - models, priorities: which of the module's models, and of "high", "normal" and "low", runs of this tenant may use; default: all.
    - limits: what one run of this tenant may use at most: records and tokens (estimated), jobs and item batches at once. A request that asks for more is refused.
    - defaults: as run_defaults, for this tenant; and the priority of a run that names none.
  EOT
  type = map(object({
    batch_role_arn = optional(string)
    models         = optional(list(string))
    priorities     = optional(list(string))
    limits = optional(object({
      max_records       = optional(number)
      max_tokens        = optional(number)
      job_concurrency   = optional(number)
      infer_concurrency = optional(number)
    }), {})
    defaults = optional(object({
      mode                          = optional(string)
      priority                      = optional(string)
      cut_bytes                     = optional(number)
      job_concurrency               = optional(number)
      infer_concurrency             = optional(number)
      items_per_batch               = optional(number)
      tolerated_failure_percentage  = optional(number)
      tolerated_rejected_percentage = optional(number)
      canary_records                = optional(number)
      job_timeout_hours             = optional(number)
      max_attempts                  = optional(number)
    }), {})
  }))
  default  = { default = {} }
  nullable = false

  validation {
    condition     = length(var.tenants) > 0 && alltrue([for tenant in keys(var.tenants) : can(regex("^[a-z0-9][a-z0-9-]{0,31}$", tenant)) && !contains(["config", "runs", "jobs", "all"], tenant)])
    error_message = "tenants needs at least one tenant; a tenant's name is 1 to 32 characters of a-z, 0-9 and -, begins with a letter or digit, and is not \"config\", \"runs\", \"jobs\" or \"all\" (words of the module's own): for example { acme = {} }."
  }

  validation {
    condition     = alltrue([for tenant in values(var.tenants) : tenant.batch_role_arn == null ? true : can(regex("^arn:aws(-[a-z-]+)?:iam::[0-9]{12}:role/.+$", tenant.batch_role_arn))])
    error_message = "tenants[…].batch_role_arn must be the ARN of an IAM role: for example \"arn:aws:iam::123456789012:role/acme-batch\"."
  }

  validation {
    condition     = alltrue(flatten([for tenant in values(var.tenants) : [for model in coalesce(tenant.models, []) : contains(var.models, model)]])) && alltrue([for tenant in values(var.tenants) : tenant.models == null ? true : length(tenant.models) > 0])
    error_message = "tenants[…].models must name at least one of models, spelled as there: leave it out to allow all of them."
  }

  validation {
    condition = alltrue(flatten([for tenant in values(var.tenants) : [
      [for priority in coalesce(tenant.priorities, []) : contains(["high", "normal", "low"], priority)],
      tenant.priorities == null ? true : length(tenant.priorities) > 0,
      tenant.defaults.priority == null ? true : contains(coalesce(tenant.priorities, ["high", "normal", "low"]), tenant.defaults.priority),
    ]]))
    error_message = "tenants[…].priorities must hold \"high\", \"normal\" or \"low\", and defaults.priority be one of them: for example { acme = { priorities = [\"normal\", \"low\"], defaults = { priority = \"low\" } } }."
  }

  validation {
    condition = alltrue(flatten([for tenant in values(var.tenants) : [
      for value in concat(values(tenant.limits), [tenant.defaults.job_concurrency, tenant.defaults.infer_concurrency, tenant.defaults.items_per_batch, tenant.defaults.max_attempts]) :
      value == null ? true : value >= 1 && floor(value) == value
    ]]))
    error_message = "each of tenants[…].limits, and a tenant's default of job_concurrency, infer_concurrency, items_per_batch and max_attempts, must be a whole number of at least 1: for example { acme = { limits = { max_records = 1000000 } } }."
  }

  validation {
    condition = alltrue(flatten([for tenant in values(var.tenants) : [
      tenant.defaults.mode == null ? true : contains(["auto", "batch", "sync"], tenant.defaults.mode),
      tenant.defaults.cut_bytes == null ? true : tenant.defaults.cut_bytes >= 1048576 && tenant.defaults.cut_bytes <= 4294967296,
      tenant.defaults.tolerated_failure_percentage == null ? true : tenant.defaults.tolerated_failure_percentage >= 0 && tenant.defaults.tolerated_failure_percentage <= 100,
      tenant.defaults.tolerated_rejected_percentage == null ? true : tenant.defaults.tolerated_rejected_percentage >= 0 && tenant.defaults.tolerated_rejected_percentage <= 100,
      tenant.defaults.canary_records == null ? true : tenant.defaults.canary_records >= 0 && tenant.defaults.canary_records <= 50,
      tenant.defaults.job_timeout_hours == null ? true : tenant.defaults.job_timeout_hours >= 24 && tenant.defaults.job_timeout_hours <= 168,
    ]]))
    error_message = "tenants[…].defaults must keep to the bounds of run_defaults: mode \"auto\", \"batch\" or \"sync\"; cut_bytes 1 MiB to 4 GiB; tolerated_failure_percentage and tolerated_rejected_percentage 0 to 100; canary_records 0 to 50; job_timeout_hours 24 to 168."
  }
}

variable "run_defaults" {
  description = <<-EOT
    What a run request may leave out.
    - mode: "auto", "batch" or "sync".
    - cut_bytes: bytes of corpus that one cut_shards invocation reads (1 MiB to 4 GiB).
    - job_concurrency, infer_concurrency: parallel shards, parallel item batches; default: from the account's quotas.
    - items_per_batch: records of one infer_batch invocation.
    - tolerated_failure_percentage: failed share of shards or item batches, and of records within one, above which a run stops.
    - tolerated_rejected_percentage: share of a corpus's rows, and of its bytes, that may be no records; above it a run is refused before anything is submitted.
    - canary_records: records tried on demand before anything is submitted, at most 50; 0 turns the canary off.
    - max_records, max_tokens: a run that is thought to be larger is refused; default: of any size.
    - max_records_per_shard, max_bytes_per_shard: smaller shards than the quotas allow.
    - job_timeout_hours: Bedrock's own limit of a batch job, queueing included (24 to 168).
    - max_attempts: submissions of one shard.
    - claim_ttl_days: how long a record stays claimed, so how long a scope is protected from landing it twice.
  EOT
  type = object({
    mode                          = optional(string, "auto")
    cut_bytes                     = optional(number, 268435456)
    job_concurrency               = optional(number)
    infer_concurrency             = optional(number)
    items_per_batch               = optional(number, 100)
    tolerated_failure_percentage  = optional(number, 10)
    tolerated_rejected_percentage = optional(number, 5)
    canary_records                = optional(number, 5)
    job_timeout_hours             = optional(number, 24)
    max_attempts                  = optional(number, 3)
    claim_ttl_days                = optional(number, 90)
    max_records                   = optional(number)
    max_tokens                    = optional(number)
    max_records_per_shard         = optional(number)
    max_bytes_per_shard           = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["auto", "batch", "sync"], var.run_defaults.mode)
    error_message = "run_defaults.mode must be \"auto\", \"batch\" or \"sync\"."
  }

  validation {
    condition     = var.run_defaults.cut_bytes >= 1048576 && var.run_defaults.cut_bytes <= 4294967296
    error_message = "run_defaults.cut_bytes must be 1048576 (1 MiB) to 4294967296 (4 GiB): for example 268435456."
  }

  validation {
    condition     = var.run_defaults.job_timeout_hours >= 24 && var.run_defaults.job_timeout_hours <= 168
    error_message = "run_defaults.job_timeout_hours must be 24 to 168: Bedrock takes no other timeout of a batch job."
  }

  validation {
    condition     = var.run_defaults.tolerated_failure_percentage >= 0 && var.run_defaults.tolerated_failure_percentage <= 100
    error_message = "run_defaults.tolerated_failure_percentage must be 0 to 100: for example 10."
  }

  validation {
    condition     = var.run_defaults.tolerated_rejected_percentage >= 0 && var.run_defaults.tolerated_rejected_percentage <= 100
    error_message = "run_defaults.tolerated_rejected_percentage must be 0 to 100: for example 5."
  }

  validation {
    condition = alltrue([
      for value in [var.run_defaults.items_per_batch, var.run_defaults.max_attempts, var.run_defaults.job_concurrency, var.run_defaults.infer_concurrency] :
      value == null ? true : value >= 1 && value <= 10000
    ])
    error_message = "run_defaults.items_per_batch, max_attempts, job_concurrency and infer_concurrency must be 1 to 10000."
  }

  validation {
    condition     = var.run_defaults.canary_records >= 0 && var.run_defaults.canary_records <= 50
    error_message = "run_defaults.canary_records must be 0 to 50: for example 5."
  }

  validation {
    condition = alltrue([
      for value in [var.run_defaults.max_records, var.run_defaults.max_tokens, var.run_defaults.max_records_per_shard, var.run_defaults.max_bytes_per_shard] :
      value == null ? true : value >= 1 && floor(value) == value
    ])
    error_message = "run_defaults.max_records, max_tokens, max_records_per_shard and max_bytes_per_shard must be whole numbers of at least 1: for example { max_records = 10000000 }."
  }

  validation {
    condition     = var.run_defaults.claim_ttl_days >= 60
    error_message = "run_defaults.claim_ttl_days must be at least 60: a redrive may come 14 days after a run that took weeks, and must still find its claims."
  }
}

variable "source_buckets" {
  description = "Other buckets of this account and Region that hold corpora, by name. prefix limits what may be read (default: everything), tenants whose runs may read it (default: all), kms_key_arn is the key of their objects if it is not S3's own."
  type = map(object({
    prefix      = optional(string, "")
    tenants     = optional(list(string))
    kms_key_arn = optional(string)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for bucket in keys(var.source_buckets) : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", bucket))])
    error_message = "each key of source_buckets must be a bucket's name: for example { my-archive = { prefix = \"mail/\" } }."
  }

  validation {
    condition     = alltrue(flatten([for bucket in values(var.source_buckets) : [for tenant in coalesce(bucket.tenants, []) : contains(keys(var.tenants), tenant)]]))
    error_message = "source_buckets[…].tenants must name tenants of this module: for example { my-archive = { tenants = [\"acme\"] } }."
  }

  validation {
    condition     = alltrue([for bucket in values(var.source_buckets) : bucket.kms_key_arn == null ? true : can(regex("^arn:aws(-[a-z-]+)?:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", bucket.kms_key_arn))])
    error_message = "source_buckets[…].kms_key_arn must be the ARN of a key, not of an alias: for example \"arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab\"."
  }
}

# What you may bring.

variable "input_bucket" {
  description = "An existing bucket for corpora and shards, in the same account and Region (Step Functions reads from no other). Its encryption, policy and lifecycle stay yours. Default: one is made."
  type        = object({ name = string })
  default     = null

  validation {
    condition     = var.input_bucket == null ? true : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.input_bucket.name))
    error_message = "input_bucket.name must be a bucket's name, not its ARN or URI: for example { name = \"my-input\" }."
  }
}

variable "output_bucket" {
  description = "An existing bucket for results, in the same account and Region. Its encryption, policy and lifecycle stay yours. Default: one is made."
  type        = object({ name = string })
  default     = null

  validation {
    condition     = var.output_bucket == null ? true : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.output_bucket.name))
    error_message = "output_bucket.name must be a bucket's name, not its ARN or URI: for example { name = \"my-output\" }."
  }
}

variable "kms_key" {
  description = "An existing KMS key for buckets, tables and queues. Its key policy must let the account's IAM policies decide. Default: one is made, with rotation."
  type        = object({ arn = string })
  default     = null

  validation {
    condition     = var.kms_key == null ? true : can(regex("^arn:aws(-[a-z-]+)?:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key.arn))
    error_message = "kms_key.arn must be the ARN of a key, not of an alias: for example { arn = \"arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab\" }."
  }
}

variable "event_bus" {
  description = "An existing EventBridge bus in the same account and Region for completion events. Default: one is made."
  type        = object({ name = string })
  default     = null

  validation {
    condition     = var.event_bus == null ? true : can(regex("^[A-Za-z0-9._-]{1,256}$", var.event_bus.name))
    error_message = "event_bus.name must be a bus's name, not its ARN: for example { name = \"platform\" }."
  }
}

variable "vpc" {
  description = "Subnets and security groups for every function. They must reach S3, DynamoDB, SQS, Step Functions, EventBridge, Bedrock, Service Quotas, CloudWatch Logs and X-Ray. With batch_jobs (default) Bedrock reads and writes the files of batch jobs through them, too. Default: no VPC."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    batch_jobs         = optional(bool, true)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0
    error_message = "vpc needs at least one subnet and one security group: for example { subnet_ids = [\"subnet-0a1b\"], security_group_ids = [\"sg-0a1b\"] }."
  }

  validation {
    condition     = var.vpc == null ? true : alltrue(concat([for id in var.vpc.subnet_ids : can(regex("^subnet-[a-z0-9]+$", id))], [for id in var.vpc.security_group_ids : can(regex("^sg-[a-z0-9]+$", id))]))
    error_message = "vpc.subnet_ids and vpc.security_group_ids must hold ids: for example { subnet_ids = [\"subnet-0a1b\"], security_group_ids = [\"sg-0a1b\"] }."
  }

  validation {
    condition     = var.vpc == null ? true : length(var.vpc.subnet_ids) <= 16 && length(var.vpc.security_group_ids) <= 5
    error_message = "vpc takes at most 16 subnets and 5 security groups: Lambda and Bedrock batch jobs take no more."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of every role made here."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^arn:aws(-[a-z-]+)?:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy: for example \"arn:aws:iam::123456789012:policy/boundary\"."
  }
}

variable "role_path" {
  description = "IAM path of every role made here."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([!-~]{1,510}/)?$", var.role_path))
    error_message = "role_path must begin and end with a slash: for example \"/pipelines/\"."
  }
}

variable "tags" {
  description = "Tags of everything made here, and of the Bedrock jobs that runs submit, besides the provider's default_tags."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 40 && alltrue([for key, value in var.tags : can(regex("^[A-Za-z0-9 ._:/=+@-]{1,128}$", key)) && can(regex("^[A-Za-z0-9 ._:/=+@-]{0,256}$", value)) && !can(regex("^(aws|bulk-inference):", key))])
    error_message = "tags takes at most 40 tags of the characters A-Z a-z 0-9 space . _ : / = + @ - (Bedrock jobs take no others), keys of 1 to 128 and values of up to 256 characters, none of the prefixes aws: and bulk-inference:; for example { team = \"search\" }."
  }
}

# Data: how long it stays, how hard it is to lose.

variable "force_destroy" {
  description = "Whether destroying the module also empties its buckets."
  type        = bool
  default     = false
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether DynamoDB refuses to delete the two tables. Set to false, and apply, before destroying the module."
  type        = bool
  default     = true
  nullable    = false
}

variable "retention" {
  description = <<-EOT
    Days that objects of the buckets made here live; 0 keeps them.
    - run_files_days: shards, their indexes and plans in the input bucket. A failed record can be reprocessed as long as its shard is there.
    - raw_output_days: Bedrock's own output, which repeats every prompt.
    - results_days: results, failures, manifests and reports.
    - noncurrent_version_days: earlier versions of any object (at least 1).
    - incomplete_upload_days: multipart uploads that nobody completed (at least 1).
  EOT
  type = object({
    run_files_days          = optional(number, 60)
    raw_output_days         = optional(number, 30)
    results_days            = optional(number, 0)
    noncurrent_version_days = optional(number, 30)
    incomplete_upload_days  = optional(number, 7)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for days in values(var.retention) : days >= 0 && floor(days) == days])
    error_message = "each value of retention must be a whole number of days, or 0 to keep: for example { raw_output_days = 14 }."
  }

  validation {
    condition     = var.retention.noncurrent_version_days >= 1 && var.retention.incomplete_upload_days >= 1
    error_message = "retention.noncurrent_version_days and retention.incomplete_upload_days must be at least 1: what nobody can see should not be paid for ever."
  }

  validation {
    condition     = var.retention.run_files_days == 0 || var.retention.run_files_days >= 29
    error_message = "retention.run_files_days must be at least 29, or 0 to keep: a run may take 14 days, and be redriven for 14 more, and needs its shards."
  }
}

variable "tables" {
  description = <<-EOT
    Capacity of the two tables: ledger (one item per record) and runs (one per run, shard, unit of work). Default: on demand, uncapped.
    - max_read_units, max_write_units: what an on-demand table may use per second, at most; it throttles beyond. The functions wait and go on.
    - read_units, write_units: given both, the table is provisioned with them instead.
  EOT
  type = object({
    ledger = optional(object({
      max_read_units  = optional(number)
      max_write_units = optional(number)
      read_units      = optional(number)
      write_units     = optional(number)
    }), {})
    runs = optional(object({
      max_read_units  = optional(number)
      max_write_units = optional(number)
      read_units      = optional(number)
      write_units     = optional(number)
    }), {})
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue(flatten([for table in values(var.tables) : [for units in values(table) : units == null ? true : units >= 1 && floor(units) == units]]))
    error_message = "each value of tables must be a whole number of units of at least 1: for example { ledger = { max_write_units = 8000 } }."
  }

  validation {
    condition     = alltrue([for table in values(var.tables) : (table.read_units == null) == (table.write_units == null) && (table.read_units == null || (table.max_read_units == null && table.max_write_units == null))])
    error_message = "a table of tables is either provisioned, with read_units and write_units both, or on demand, with max_read_units or max_write_units if it is to be capped: for example { ledger = { read_units = 500, write_units = 2000 } }."
  }
}

variable "point_in_time_recovery" {
  description = "Whether the tables can be restored to any second of the last 35 days."
  type        = bool
  default     = true
  nullable    = false
}

# Functions.

variable "packages" {
  description = <<-EOT
    Where the functions' code comes from. Default: the zips of this module, put into the input bucket.
    - functions, dependencies: path of a zip on this machine, or s3_bucket, s3_key, s3_object_version (optional) and source_code_hash (base64 of its SHA-256) of one in S3.
    - layer_arns: Lambda layers to use instead of the dependencies package.
  EOT
  type = object({
    functions = optional(object({
      path              = optional(string)
      s3_bucket         = optional(string)
      s3_key            = optional(string)
      s3_object_version = optional(string)
      source_code_hash  = optional(string)
    }), {})
    dependencies = optional(object({
      path              = optional(string)
      s3_bucket         = optional(string)
      s3_key            = optional(string)
      s3_object_version = optional(string)
      source_code_hash  = optional(string)
    }), {})
    layer_arns = optional(list(string))
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for package in [var.packages.functions, var.packages.dependencies] :
      package.s3_bucket == null && package.s3_key == null ? true : package.s3_bucket != null && package.s3_key != null && package.path == null
    ])
    error_message = "a package is either a path or a pair of s3_bucket and s3_key: for example { functions = { s3_bucket = \"artifacts\", s3_key = \"bulk-inference/functions.zip\" } }."
  }

  validation {
    condition     = var.packages.layer_arns == null ? true : length(var.packages.layer_arns) <= 5 && alltrue([for arn in var.packages.layer_arns : can(regex("^arn:aws(-[a-z-]+)?:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+:[0-9]+$", arn))])
    error_message = "packages.layer_arns must hold at most 5 ARNs of layer versions: for example [\"arn:aws:lambda:us-east-1:123456789012:layer:bulk-inference:1\"]."
  }
}

variable "parquet" {
  description = <<-EOT
    pyarrow for the functions that read and write Parquet, and unpack Zstandard. It is native code, for one CPU and one Python version (see runtime), and no part of the bundle. Default: none; such corpora are refused.
    - layer_arn: a Lambda layer that holds it, such as AWS SDK for pandas'.
    - package: a zip for a layer made here, as `make parquet-layer` builds it: path on this machine, or s3_bucket, s3_key, s3_object_version (optional) and source_code_hash (base64 of its SHA-256) of one in S3.
  EOT
  type = object({
    layer_arn = optional(string)
    package = optional(object({
      path              = optional(string)
      s3_bucket         = optional(string)
      s3_key            = optional(string)
      s3_object_version = optional(string)
      source_code_hash  = optional(string)
    }))
  })
  default = null

  validation {
    condition     = var.parquet == null ? true : (var.parquet.layer_arn == null) != (var.parquet.package == null)
    error_message = "parquet is either a layer_arn or a package: for example { package = { path = \".build/parquet-layer-python3.13-arm64.zip\" } }."
  }

  validation {
    condition     = try(var.parquet.layer_arn, null) == null ? true : can(regex("^arn:[^:]+:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+:[0-9]+$", var.parquet.layer_arn))
    error_message = "parquet.layer_arn must be the ARN of a layer version: for example \"arn:aws:lambda:eu-central-1:123456789012:layer:pyarrow:3\"."
  }

  validation {
    condition     = try(var.parquet.package, null) == null ? true : (var.parquet.package.path != null) != (var.parquet.package.s3_bucket != null && var.parquet.package.s3_key != null)
    error_message = "parquet.package is either a path or a pair of s3_bucket and s3_key: for example { s3_bucket = \"artifacts\", s3_key = \"pyarrow.zip\" }."
  }
}

variable "runtime" {
  description = "Python version and CPU of the functions. The bundle is pure Python for 3.11 to 3.13 and fits both CPUs."
  type = object({
    python       = optional(string, "python3.13")
    architecture = optional(string, "arm64")
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["python3.11", "python3.12", "python3.13"], var.runtime.python)
    error_message = "runtime.python must be python3.11, python3.12 or python3.13."
  }

  validation {
    condition     = contains(["arm64", "x86_64"], var.runtime.architecture)
    error_message = "runtime.architecture must be arm64 or x86_64."
  }
}

variable "functions" {
  description = "Memory (MB), timeout (seconds) and reserved concurrency of single functions, by handler name; what is left out keeps its default. A function with 1769 MB has one whole CPU."
  type = map(object({
    memory_mb            = optional(number)
    timeout_seconds      = optional(number)
    reserved_concurrency = optional(number)
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue([for function in keys(var.functions) : contains([
      "plan_run", "cut_shards", "seal_shards", "submit_job", "resume_job", "collect_results", "infer_batch",
      "plan_assembly", "sort_chunks", "join_documents", "close_assembly", "export_parquet", "order_results",
      "reprocess_records", "redrive_failures", "update_runs", "reconcile_jobs", "finish_run", "stop_run",
      "infer_documents", "pool_documents", "follow_pools", "intake_status",
    ], function)])
    error_message = "functions must be keyed by handler name: plan_run, cut_shards, seal_shards, submit_job, resume_job, collect_results, infer_batch, plan_assembly, sort_chunks, join_documents, close_assembly, export_parquet, order_results, reprocess_records, redrive_failures, update_runs, reconcile_jobs, finish_run, stop_run, infer_documents, pool_documents, follow_pools or intake_status; for example { infer_batch = { memory_mb = 2048 } }."
  }

  validation {
    condition     = alltrue([for f in values(var.functions) : f.memory_mb == null ? true : f.memory_mb >= 256 && f.memory_mb <= 10240])
    error_message = "functions[…].memory_mb must be 256 to 10240."
  }

  validation {
    condition     = alltrue([for f in values(var.functions) : f.timeout_seconds == null ? true : f.timeout_seconds >= 10 && f.timeout_seconds <= 900])
    error_message = "functions[…].timeout_seconds must be 10 to 900, Lambda's maximum."
  }

  validation {
    condition     = alltrue([for f in values(var.functions) : f.reserved_concurrency == null ? true : f.reserved_concurrency >= 1 && floor(f.reserved_concurrency) == f.reserved_concurrency])
    error_message = "functions[…].reserved_concurrency must be a whole number of at least 1 (0 would stop the function): for example { infer_batch = { reserved_concurrency = 50 } }."
  }
}

variable "reprocessing" {
  description = <<-EOT
    The failure lane.
    - batch_size: messages per reprocess_records invocation (1 to 10).
    - maximum_concurrency: parallel invocations (2 to 1000) for failed records of runs of priority high, and as many for normal ones; low has 2.
    - max_receive_count: tries of a record before it goes to the dead-letter queue (at least 2).
    - retention_days: life of a message in the reprocess queue; dead letters live 14 days. max_receive_count times six times the timeout of reprocess_records must fit into half of it.
    - update_schedule: how often manifests of runs follow late landings: a rate or cron expression, UTC.
  EOT
  type = object({
    batch_size          = optional(number, 10)
    maximum_concurrency = optional(number, 5)
    max_receive_count   = optional(number, 5)
    retention_days      = optional(number, 7)
    update_schedule     = optional(string, "rate(1 minute)")
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^(rate\\([1-9][0-9]* (minute|minutes|hour|hours|day|days)\\)|cron\\(.+\\))$", var.reprocessing.update_schedule))
    error_message = "reprocessing.update_schedule must be a rate or cron expression: for example \"rate(1 minute)\"."
  }

  validation {
    condition     = var.reprocessing.batch_size >= 1 && var.reprocessing.batch_size <= 10
    error_message = "reprocessing.batch_size must be 1 to 10."
  }

  validation {
    condition     = var.reprocessing.maximum_concurrency >= 2 && var.reprocessing.maximum_concurrency <= 1000
    error_message = "reprocessing.maximum_concurrency must be 2 to 1000: SQS event sources take no other value."
  }

  validation {
    condition     = var.reprocessing.max_receive_count >= 2 && var.reprocessing.max_receive_count <= 1000
    error_message = "reprocessing.max_receive_count must be 2 to 1000: for example 5."
  }

  validation {
    condition     = var.reprocessing.retention_days >= 1 && var.reprocessing.retention_days <= 13
    error_message = "reprocessing.retention_days must be 1 to 13: a dead letter keeps its age, and the dead-letter queue's 14 days must be the longer ones."
  }
}

variable "intake" {
  description = <<-EOT
    Queues for documents that arrive one by one (docs/intake.md). Off by default: then nothing of it is made.
    - enabled: whether there is an intake.
    - high: messages per invocation (1 to 10) and parallel invocations (2 to 1000) of infer_documents, which infers each document at once.
    - normal, low: when a pool of documents is closed and becomes a run, whichever comes first: documents (1 to 100000), minutes since its first one, megabytes (1 to 4096).
    - pooling_concurrency: parallel invocations (2 to 1000) of pool_documents for each of normal and low.
    - max_receive_count: tries of a message before it goes to the dead-letter queue (at least 2).
    - retention_days: life of a message in its queue (1 to 13); dead letters live 14 days.
    - schedule: how often pools are looked at: a rate or cron expression, UTC.
  EOT
  type = object({
    enabled = optional(bool, false)
    high = optional(object({
      batch_size          = optional(number, 5)
      maximum_concurrency = optional(number, 10)
    }), {})
    normal = optional(object({
      documents = optional(number, 1000)
      minutes   = optional(number, 15)
      megabytes = optional(number, 512)
    }), {})
    low = optional(object({
      documents = optional(number, 10000)
      minutes   = optional(number, 240)
      megabytes = optional(number, 512)
    }), {})
    pooling_concurrency = optional(number, 4)
    max_receive_count   = optional(number, 5)
    retention_days      = optional(number, 7)
    schedule            = optional(string, "rate(1 minute)")
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.intake.high.batch_size >= 1 && var.intake.high.batch_size <= 10
    error_message = "intake.high.batch_size must be 1 to 10."
  }

  validation {
    condition     = alltrue([for value in [var.intake.high.maximum_concurrency, var.intake.pooling_concurrency] : value >= 2 && value <= 1000])
    error_message = "intake.high.maximum_concurrency and intake.pooling_concurrency must be 2 to 1000: SQS event sources take no other value."
  }

  validation {
    condition = alltrue([
      for pool in [var.intake.normal, var.intake.low] :
      pool.documents >= 1 && pool.documents <= 100000 && pool.minutes > 0 && pool.minutes <= 10080 && pool.megabytes >= 1 && pool.megabytes <= 4096
    ])
    error_message = "intake.normal and intake.low close a pool at 1 to 100000 documents, at most 10080 minutes, and 1 to 4096 megabytes: for example { documents = 1000, minutes = 15 }."
  }

  validation {
    condition     = var.intake.max_receive_count >= 2 && var.intake.max_receive_count <= 1000
    error_message = "intake.max_receive_count must be 2 to 1000: for example 5."
  }

  validation {
    condition     = var.intake.retention_days >= 1 && var.intake.retention_days <= 13
    error_message = "intake.retention_days must be 1 to 13: a dead letter keeps its age, and the dead-letter queue's 14 days must be the longer ones."
  }

  validation {
    condition     = can(regex("^(rate\\([1-9][0-9]* (minute|minutes|hour|hours|day|days)\\)|cron\\(.+\\))$", var.intake.schedule))
    error_message = "intake.schedule must be a rate or cron expression: for example \"rate(1 minute)\"."
  }
}

variable "alarm_topic" {
  description = "SNS topic that takes alarms, by its ARN, which may be that of a topic made beside the module; null: no alarms are made."
  type        = object({ arn = string })
  default     = null

  validation {
    condition     = var.alarm_topic == null ? true : can(regex("^arn:[^:]+:sns:[^:]+:[0-9]{12}:.+$", var.alarm_topic.arn))
    error_message = "alarm_topic.arn must be the ARN of an SNS topic: for example { arn = \"arn:aws:sns:us-east-1:123456789012:on-call\" }."
  }
}

variable "reconcile_schedule" {
  description = "How often reconcile_jobs looks for jobs whose completion event was lost: a rate or cron expression of EventBridge Scheduler, UTC."
  type        = string
  default     = "rate(5 minutes)"
  nullable    = false

  validation {
    condition     = can(regex("^(rate\\([1-9][0-9]* (minute|minutes|hour|hours|day|days)\\)|cron\\(.+\\))$", var.reconcile_schedule))
    error_message = "reconcile_schedule must be a rate or cron expression: for example \"rate(5 minutes)\" or \"cron(0/10 * * * ? *)\"."
  }
}

# Watching.

variable "logs" {
  description = <<-EOT
    Logs of functions and state machines. They hold ids and locations, never prompts or answers.
    - retention_days: one of CloudWatch's own values.
    - format: "JSON" or "Text", of Lambda's own lines; ours are JSON.
    - level: "DEBUG", "INFO", "WARN" or "ERROR".
    - kms_key_arn: key of the log groups, whose policy must let CloudWatch Logs use it. Default: the key made here, or none beside an existing kms_key.
  EOT
  type = object({
    retention_days = optional(number, 90)
    format         = optional(string, "JSON")
    level          = optional(string, "INFO")
    kms_key_arn    = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.logs.retention_days)
    error_message = "logs.retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }

  validation {
    condition     = contains(["JSON", "Text"], var.logs.format)
    error_message = "logs.format must be \"JSON\" or \"Text\"."
  }

  validation {
    condition     = contains(["DEBUG", "INFO", "WARN", "ERROR"], var.logs.level)
    error_message = "logs.level must be \"DEBUG\", \"INFO\", \"WARN\" or \"ERROR\"."
  }

  validation {
    condition     = var.logs.kms_key_arn == null ? true : can(regex("^arn:aws(-[a-z-]+)?:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.logs.kms_key_arn))
    error_message = "logs.kms_key_arn must be the ARN of a key, not of an alias: for example \"arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab\"."
  }
}

variable "tracing" {
  description = "Whether functions and state machines send X-Ray traces."
  type        = bool
  default     = true
  nullable    = false
}
