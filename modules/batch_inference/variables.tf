variable "name" {
  description = "Name of the pipeline; prefix of everything made here."
  type        = string
}

variable "account" {
  description = "Where this is applied: partition (\"aws\"), the partition's DNS suffix (\"amazonaws.com\"), Region and account id."
  type        = object({ partition = string, dns_suffix = string, region = string, id = string })
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}

variable "pipeline_name" {
  description = "Name of the state machine whose executions are runs: reconcile_jobs looks whether a job's run still lives."
  type        = string
}

variable "fan_out_arn" {
  description = "ARN of the state machine of shape B: reconcile_jobs stops it when its run is over."
  type        = string
}

variable "infer_batch_arn" {
  description = "ARN of the function that infers, on demand, what a job left over."
  type        = string
}

variable "reconcile_schedule" {
  description = "How often reconcile_jobs looks for jobs whose completion event was lost: a rate or cron expression, UTC."
  type        = string
  default     = "rate(5 minutes)"
}

variable "tenants" {
  description = "Tenants by name; batch_role is a Bedrock batch role to use instead of one made here, by its ARN."
  type = map(object({
    batch_role = optional(object({ arn = string }))
  }))
}

variable "stores" {
  description = "Names of the buckets and tables of this pipeline, and the ARN of their key."
  type        = object({ input_bucket = string, output_bucket = string, ledger_table = string, runs_table = string, kms_key_arn = string })
}

variable "models" {
  description = "ARNs of the models that may be used: foundation models called directly, inference profiles, and the foundation models behind those in every Region that they route to."
  type        = object({ direct_arns = list(string), profile_arns = list(string), destination_arns = list(string) })
}

variable "source_buckets" {
  description = "Other buckets that hold corpora, images and documents, by name: what may be read of each, and the key of its objects."
  type        = map(object({ prefix = optional(string, ""), kms_key_arn = optional(string) }))
  default     = {}
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
  description = "How every function is made: the object in S3 that holds the code and its base64 SHA-256, layers, Lambda runtime, CPU, traces, logs (retention in days, format, level, key), what roles carry, network (null: none), code signing configuration; memory in MB, timeout in seconds and reserved concurrency of single functions, by handler."
  type = object({
    package                 = object({ s3_bucket = string, s3_key = string, s3_object_version = optional(string), source_code_hash = optional(string) })
    layer_arns              = list(string)
    python                  = optional(string, "python3.13")
    architecture            = optional(string, "arm64")
    tracing                 = optional(bool, true)
    logs                    = optional(object({ retention_days = optional(number, 90), format = optional(string, "JSON"), level = optional(string, "INFO"), kms_key_arn = optional(string) }), {})
    roles                   = optional(object({ path = optional(string, "/"), permissions_boundary_arn = optional(string) }), {})
    vpc                     = optional(object({ subnet_ids = list(string), security_group_ids = list(string), batch_jobs = optional(bool, true) }))
    code_signing_config_arn = optional(string)
    functions               = optional(map(object({ memory_mb = optional(number), timeout_seconds = optional(number), reserved_concurrency = optional(number) })), {})
  })
}

variable "reprocess_queue" {
  description = "Queue that takes failed records: name and URL."
  type        = object({ name = string, url = string })
}
