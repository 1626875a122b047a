variable "name" {
  description = "Name of the pipeline; prefix of everything made here."
  type        = string
}

variable "account" {
  description = "Where this is applied: partition (\"aws\"), Region and account id."
  type = object({
    partition = string
    region    = string
    id        = string
  })
}

variable "stores" {
  description = "Names of the buckets and tables of this pipeline, and the ARN of their key."
  type = object({
    input_bucket  = string
    output_bucket = string
    ledger_table  = string
    runs_table    = string
    kms_key_arn   = string
  })
}

variable "models" {
  description = "ARNs of the models that may be used: foundation models called directly, inference profiles, and the foundation models behind those in every Region that they route to."
  type = object({
    direct_arns      = list(string)
    profile_arns     = list(string)
    destination_arns = list(string)
  })
}

variable "source_buckets" {
  description = "Other buckets that hold corpora, by name: what may be read of each, and the key of its objects."
  type = map(object({
    prefix      = optional(string, "")
    kms_key_arn = optional(string)
  }))
  default = {}
}

variable "settings" {
  description = "Settings of the module as JSON, written to the input bucket, where plan_run reads them: name, models, tenants, defaults of a run, key of the output."
  type        = string
}

variable "shard_and_submit_arn" {
  description = "ARN of the state machine of shape A."
  type        = string
}

variable "fan_out_arn" {
  description = "ARN of the state machine of shape B."
  type        = string
}

variable "assemble_results_arn" {
  description = "ARN of the state machine that makes documents and other forms of a run's results."
  type        = string
}

variable "reprocess_queue" {
  description = "Queue that takes failed records: name and URL."
  type = object({
    name = string
    url  = string
  })
}

variable "undelivered_queue_arn" {
  description = "ARN of the queue that keeps events which reached no function."
  type        = string
}

variable "event_bus_name" {
  description = "Bus that takes completion events."
  type        = string
}

variable "runtime" {
  description = "How every function is made: the object in S3 that holds the code and its base64 SHA-256, layers, Lambda runtime (\"python3.13\"), CPU, logs, traces, network (null: none) and what its role must carry."
  type = object({
    package = object({
      s3_bucket         = string
      s3_key            = string
      s3_object_version = optional(string)
      source_code_hash  = optional(string)
    })
    layer_arns               = list(string)
    python                   = optional(string, "python3.13")
    architecture             = optional(string, "arm64")
    log_retention_days       = optional(number, 90)
    log_format               = optional(string, "JSON")
    log_level                = optional(string, "INFO")
    log_kms_key_arn          = optional(string)
    tracing                  = optional(bool, true)
    permissions_boundary_arn = optional(string)
    role_path                = optional(string, "/")
    vpc = optional(object({
      subnet_ids         = list(string)
      security_group_ids = list(string)
    }))
  })
}

variable "parquet_layer_arns" {
  description = "Layer with pyarrow, for the functions that read corpora; none: they refuse Parquet and Zstandard."
  type        = list(string)
  default     = []
}

variable "functions" {
  description = "Memory (MB), timeout (seconds) and reserved concurrency of single functions, by handler name; what is left out keeps its default."
  type = map(object({
    memory_mb            = optional(number)
    timeout_seconds      = optional(number)
    reserved_concurrency = optional(number)
  }))
  default = {}
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}
