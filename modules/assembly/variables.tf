variable "name" {
  description = "Name of the pipeline; prefix of everything made here."
  type        = string
}

variable "account" {
  description = "Where this is applied: partition (\"aws\"), Region and account id."
  type        = object({ partition = string, region = string, id = string })
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}

variable "pipeline_name" {
  description = "Name of the state machine whose executions are runs: a reduction of documents is one."
  type        = string
}

variable "event_bus_name" {
  description = "Bus that takes completion events."
  type        = string
}

variable "reprocess_queue" {
  description = "Queue that takes failed records: name and URL."
  type        = object({ name = string, url = string })
}

variable "parquet_layer_arns" {
  description = "Lambda layers with pyarrow, for the function that writes Parquet; empty: runs that ask for Parquet are refused."
  type        = list(string)
  default     = []
}

variable "runtime" {
  description = "How every function is made: the object in S3 that holds the code and its base64 SHA-256, layers, Lambda runtime, CPU, traces, logs (retention in days, format, level, key), what roles carry, network (null: none), code signing configuration; memory in MB, timeout in seconds and reserved concurrency of single functions, by handler."
  type = object({
    package                 = object({ s3_bucket = string, s3_key = string, s3_object_version = optional(string), source_code_hash = optional(string) })
    layer_arns              = list(string)
    python                  = optional(string, "python3.13")
    architecture            = optional(string, "arm64")
    tracing                 = optional(bool, true)
    logs                    = optional(object({ retention_days = optional(number, 90), format = optional(string, "JSON"), level = optional(string, "INFO"), kms_key_arn = optional(string) }), {})
    roles                   = optional(object({ path = optional(string, "/"), permissions_boundary_arn = optional(string) }), {})
    vpc                     = optional(object({ subnet_ids = list(string), security_group_ids = list(string) }))
    code_signing_config_arn = optional(string)
    functions               = optional(map(object({ memory_mb = optional(number), timeout_seconds = optional(number), reserved_concurrency = optional(number) })), {})
  })
}

variable "stores" {
  description = "Names of the buckets and tables of this pipeline, and the ARN of their key."
  type        = object({ input_bucket = string, output_bucket = string, ledger_table = string, runs_table = string, kms_key_arn = string })
}
