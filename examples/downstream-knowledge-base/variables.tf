variable "model" {
  description = "Model of the runs."
  type        = string
  default     = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
}

variable "knowledge_base_id" {
  description = "Id of the Bedrock knowledge base that reads the results."
  type        = string
  default     = "KB12345678"

  validation {
    condition     = can(regex("^[0-9a-zA-Z]{10}$", var.knowledge_base_id))
    error_message = "knowledge_base_id must be 10 letters and digits: for example \"KB12345678\"."
  }
}

variable "data_source_id" {
  description = "Id of the knowledge base's data source over the output bucket (inclusion prefix default/runs/)."
  type        = string
  default     = "DS12345678"

  validation {
    condition     = can(regex("^[0-9a-zA-Z]{10}$", var.data_source_id))
    error_message = "data_source_id must be 10 letters and digits: for example \"DS12345678\"."
  }
}

variable "statuses" {
  description = "Statuses of a run, as in its completion event, after which the results are read."
  type        = list(string)
  default     = ["succeeded"]
}
