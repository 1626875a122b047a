variable "name" {
  description = "Name of the pipeline; prefix of everything made here."
  type        = string
}

variable "handler" {
  description = "Handler in the bundle's package bulk_inference.handlers, and name of the function behind the pipeline's: \"plan_run\"."
  type        = string
}

variable "description" {
  description = "What the function does, in the words that its users see."
  type        = string
}

variable "account" {
  description = "Where this is applied: partition (\"aws\"), Region and account id."
  type        = object({ partition = string, region = string, id = string })
}

variable "stores" {
  description = "Names of the buckets and tables of this pipeline, and the ARN of their key: the function is told the names, its role may use the key."
  type        = object({ input_bucket = string, output_bucket = string, ledger_table = string, runs_table = string, kms_key_arn = string })
}

variable "memory_mb" {
  description = "Memory in MB; runtime.functions may give another."
  type        = number
}

variable "timeout_seconds" {
  description = "Longest time of one invocation in seconds; runtime.functions may give another."
  type        = number
}

variable "layer_arns" {
  description = "Layers besides those that every function has."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "Variables besides those that every function has."
  type        = map(string)
  default     = {}
}

variable "policy" {
  description = "What this function alone may do: a policy as JSON. Logs, traces, network and key are added to it."
  type        = string
}

variable "lists_buckets" {
  description = "Which of the pipeline's buckets the function lists, \"input\" or \"output\"."
  type        = list(string)
  default     = []
}

variable "run_items" {
  description = "What the function does with items of the table of runs: actions of DynamoDB, \"PutItem\"."
  type        = list(string)
  default     = []
}

variable "claims_for" {
  description = "Name of the state machine whose runs the function claims records for; null: it claims none."
  type        = string
  default     = null
}

variable "closes_runs" {
  description = "ARNs of the state machines and of the event bus of runs that the function closes when they are over; null: it closes none."
  type        = object({ pipeline = string, shard_and_submit = string, fan_out = string, event_bus = string })
  default     = null
}

variable "source_buckets" {
  description = "Other buckets whose objects the function may read, by name: what prefix, and the key of the objects."
  type        = map(object({ prefix = optional(string, ""), kms_key_arn = optional(string) }))
  default     = {}
}

variable "lists_source_buckets" {
  description = "Whether the function also lists source_buckets."
  type        = bool
  default     = false
}

variable "models" {
  description = "ARNs of the models that the function may call; none by default."
  type = object({
    direct_arns      = optional(list(string), [])
    profile_arns     = optional(list(string), [])
    destination_arns = optional(list(string), [])
  })
  default = {}
}

variable "undelivered_queue" {
  description = "Queue of events that failed on every try, for a function that is invoked asynchronously; null: it is not."
  type        = object({ arn = string })
  default     = null
}

variable "schedule" {
  description = "When the function runs by the clock: a rate or cron expression in UTC, what for, and the name of the schedule's role behind the pipeline's. It needs undelivered_queue. null: never."
  type        = object({ expression = string, description = string, role = string })
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

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}
