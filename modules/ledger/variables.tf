variable "name" {
  description = "Name of the pipeline; prefix of both tables' names."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key of both tables."
  type        = string
}

variable "deletion_protection" {
  description = "Whether DynamoDB refuses to delete the tables."
  type        = bool
  default     = true
}

variable "point_in_time_recovery" {
  description = "Whether the tables can be restored to any second of the last 35 days."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of both tables."
  type        = map(string)
  default     = {}
}
