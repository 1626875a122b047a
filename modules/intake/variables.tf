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
  description = "Name of the state machine that pools are started as runs of."
  type        = string
}

variable "intake" {
  description = "high: messages per invocation (1 to 10) and parallel invocations (2 to 1000) of infer_documents. normal, low: when a pool is closed, whichever comes first: documents, minutes since its first one, megabytes. pooling_concurrency: parallel invocations of pool_documents for each of both. max_receive_count: tries of a message; retention_days: its life; schedule: how often follow_pools looks."
  type = object({
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
  default = {}
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
  description = "Queue of events that reached no function."
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

variable "alarm_topic" {
  description = "SNS topic that takes alarms, by its ARN, which may be that of a topic made beside the module; null: no alarms are made."
  type        = object({ arn = string })
  default     = null
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
