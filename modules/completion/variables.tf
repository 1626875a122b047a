variable "name" {
  description = "Name of the pipeline, and of the bus made here."
  type        = string
}

variable "account" {
  description = "Where this is applied: partition (\"aws\"), Region and account id."
  type = object({
    partition = string
    region    = string
    id        = string
  })
}

variable "event_bus" {
  description = "Bus to use instead of making one."
  type        = object({ name = string })
  default     = null
}

variable "tags" {
  description = "Tags of the bus."
  type        = map(string)
  default     = {}
}
