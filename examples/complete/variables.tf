variable "disposable" {
  description = "Whether the buckets may be destroyed with what they hold, and the tables, too: for a try."
  type        = bool
  default     = false
}
