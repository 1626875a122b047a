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

variable "tables" {
  description = "Capacity of each table, in units per second: on demand, capped by max_read_units and max_write_units where given, or provisioned with read_units and write_units where both are given."
  type = object({
    ledger = optional(object({
      max_read_units  = optional(number)
      max_write_units = optional(number)
      read_units      = optional(number)
      write_units     = optional(number)
    }), {})
    runs = optional(object({
      max_read_units  = optional(number)
      max_write_units = optional(number)
      read_units      = optional(number)
      write_units     = optional(number)
    }), {})
  })
  default = {}
}

variable "tags" {
  description = "Tags of both tables."
  type        = map(string)
  default     = {}
}
