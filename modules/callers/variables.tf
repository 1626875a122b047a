variable "account" {
  description = "Where this is applied: partition (\"aws\"), the partition's DNS suffix (\"amazonaws.com\"), Region and account id."
  type = object({
    partition  = string
    dns_suffix = string
    region     = string
    id         = string
  })
}

variable "name" {
  description = "Name of the pipeline; prefix of everything made here."
  type        = string
}

variable "pipeline_arn" {
  description = "ARN of the state machine whose executions are runs."
  type        = string
}

variable "redrive_function" {
  description = "Name of the function that redrives, resubmits and drops failed records."
  type        = string
}

variable "runtime" {
  description = "How state machines are made: logs, traces and what their roles must carry."
  type = object({
    tracing = optional(bool, true)
    logs    = optional(object({ retention_days = optional(number, 90), kms_key_arn = optional(string) }), {})
    roles   = optional(object({ path = optional(string, "/"), permissions_boundary_arn = optional(string) }), {})
  })
  default = {}
}

variable "stores" {
  description = "Names of the buckets of this pipeline, and the ARN of their key."
  type = object({
    input_bucket  = string
    output_bucket = string
    kms_key_arn   = string
  })
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}

variable "tenants" {
  description = "Names of the tenants. Two or more: each gets a state machine that starts runs of it alone."
  type        = set(string)
}
