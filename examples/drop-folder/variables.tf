variable "model" {
  description = "Model of the runs."
  type        = string
  default     = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
}

variable "folder" {
  description = "Prefix in the input bucket, inside a tenant's corpus/, below which a .jsonl file starts a run."
  type        = string
  default     = "default/corpus/drop/"

  validation {
    condition     = can(regex("^[a-z0-9-]+/corpus/([a-z0-9-]+/)*$", var.folder))
    error_message = "folder must lie inside a tenant's corpus/ and end in a slash: for example \"default/corpus/drop/\"."
  }
}

variable "template" {
  description = "Prompt of each record."
  type        = string
  default     = "Which product is this ticket about?\n\n{{text}}"
}
