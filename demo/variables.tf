variable "name" {
  description = "Name of the pipeline."
  type        = string
  default     = "demo"
}

variable "models" {
  description = "Models that the local Bedrock knows: a profile and a model of its own Region."
  type        = list(string)
  default     = ["us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"]
}

variable "tenants" {
  description = "Tenants, as the module takes them."
  type        = map(object({ batch_role = optional(object({ arn = string })) }))
  default     = { default = {} }
}

variable "run_defaults" {
  description = "What a run request may leave out, as the module takes it."
  type = object({
    mode                         = optional(string)
    cut_bytes                    = optional(number)
    job_concurrency              = optional(number)
    infer_concurrency            = optional(number)
    items_per_batch              = optional(number)
    tolerated_failure_percentage = optional(number)
    canary_records               = optional(number)
    job_timeout_hours            = optional(number)
    max_attempts                 = optional(number)
    claim_ttl_days               = optional(number)
  })
  # Four megabytes of corpus to a cut: a small corpus is cut in several, too.
  default = { cut_bytes = 4194304 }
}

variable "reconcile_schedule" {
  description = "How often lost completion events are looked for: a rate or cron expression."
  type        = string
  default     = "rate(1 minute)"
}

variable "functions" {
  description = "Sizes of single functions, as the module takes them."
  type = map(object({
    memory_mb            = optional(number)
    timeout_seconds      = optional(number)
    reserved_concurrency = optional(number)
  }))
  # A failed record comes back after six times this: soon enough to watch it go to the dead-letter queue.
  default = { reprocess_records = { timeout_seconds = 10 } }
}

variable "reprocessing" {
  description = "The failure lane's numbers, as the module takes them."
  type = object({
    batch_size          = optional(number)
    maximum_concurrency = optional(number)
    max_receive_count   = optional(number)
    retention_days      = optional(number)
    update_schedule     = optional(string)
  })
  default = { max_receive_count = 2 }
}

variable "intake" {
  description = "Queues for documents that arrive one by one, as the module takes them; off by default."
  type = object({
    enabled           = optional(bool)
    normal            = optional(object({ documents = optional(number), minutes = optional(number) }), {})
    low               = optional(object({ documents = optional(number), minutes = optional(number) }), {})
    max_receive_count = optional(number)
    schedule          = optional(string)
  })
  default = {}
}

variable "packages" {
  description = "Where the functions' code comes from, as the module takes it; default: the zips in lambdas/dist."
  type = object({
    functions    = optional(object({ path = optional(string) }))
    dependencies = optional(object({ path = optional(string) }))
  })
  default = {}
}

variable "parquet" {
  description = "Where pyarrow comes from, as the module takes it; default: there is none, and Parquet is refused."
  type        = object({ package = optional(object({ path = optional(string) })) })
  default     = null
}
