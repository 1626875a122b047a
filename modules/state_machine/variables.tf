variable "account" {
  description = "Where this is applied: partition (\"aws\"), Region and account id."
  type        = object({ partition = string, region = string, id = string })
}

variable "definition" {
  description = "The machine in Amazon States Language (JSON), rendered."
  type        = string
}

variable "description" {
  description = "Description of the machine's role; null: made of its name."
  type        = string
  default     = null
}

variable "functions" {
  description = "ARNs of the functions that the machine calls."
  type        = list(string)
  default     = []
}

variable "machine" {
  description = "Name of the state machine behind the pipeline's: \"fan_out\"."
  type        = string
}

variable "maps" {
  description = "Labels of its Distributed Maps."
  type        = list(string)
  default     = []
}

variable "name" {
  description = "Name of the pipeline; prefix of everything made here."
  type        = string
}

variable "policy" {
  description = "What this machine alone may do: a policy as JSON. Logs, traces, functions, maps and nested executions are added to it; null: nothing."
  type        = string
  default     = null
}

variable "runtime" {
  description = "How every state machine is made: traces, logs (retention in days, key), what roles carry."
  type = object({
    tracing = optional(bool, true)
    logs    = optional(object({ retention_days = optional(number, 90), kms_key_arn = optional(string) }), {})
    roles   = optional(object({ path = optional(string, "/"), permissions_boundary_arn = optional(string) }), {})
  })
  default = {}
}

variable "starts" {
  description = "State machines that it starts and waits for: their ARNs, and the names of the executions that it may follow."
  type        = list(object({ arn = string, executions = optional(string, "*") }))
  default     = []
}

variable "stores" {
  description = "Bucket in which Distributed Maps leave what their children came to, and the key that it is encrypted with."
  type        = object({ output_bucket = string, kms_key_arn = string })
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}
