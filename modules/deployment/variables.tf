variable "name" {
  description = "Name of the pipeline."
  type        = string
}

variable "account" {
  description = "Where this is applied: Region and account id."
  type = object({
    region = string
    id     = string
  })
}

variable "contents" {
  description = "What tools need to know: bundle (digest of its code), buckets (input, output), kmsKeyArn, tables (ledger, runs), stateMachines (pipeline), tenants (by name: stateMachineArn, runPrefix, corpusUri), functions (names, by handler), queues (URLs), eventBus and, where there is one, intake (queueUrls)."
  type = object({
    bundle        = object({ sha256 = string })
    buckets       = object({ input = string, output = string })
    kmsKeyArn     = string
    tables        = object({ ledger = string, runs = string })
    stateMachines = object({ pipeline = string })
    tenants       = map(object({ stateMachineArn = string, runPrefix = string, corpusUri = string }))
    functions     = map(string)
    queues        = object({ deadLetter = string, undelivered = string })
    eventBus      = string
    intake        = optional(object({ queueUrls = map(string) }))
  })
}

variable "create_parameter" {
  description = "Whether to make the SSM parameter. Without it tools are given the output `deployment` as a file."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of the parameter."
  type        = map(string)
  default     = {}
}
