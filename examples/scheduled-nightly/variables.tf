variable "model" {
  description = "Model of the nightly run."
  type        = string
  default     = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
}

variable "dataset" {
  description = "Folder below default/corpus/ that holds a folder per day (2026-11-21/); also the scope, in which a record lands once, and the beginning of each run's id."
  type        = string
  default     = "tickets"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,40}$", var.dataset))
    error_message = "dataset must be 1 to 41 characters of a-z, 0-9 and -, beginning with a letter: for example \"tickets\"."
  }
}

variable "template" {
  description = "Prompt of each record."
  type        = string
  default     = "Which product is this ticket about?\n\n{{text}}"
}

variable "schedule" {
  description = "When a day is closed, UTC; before midnight, so that the schedule's date is the day's."
  type        = string
  default     = "cron(59 23 * * ? *)"
}

variable "grace_minutes" {
  description = "How long to wait for objects that come late, before the run starts."
  type        = number
  default     = 120
}

variable "enabled" {
  description = "Whether the schedule fires."
  type        = bool
  default     = true
}
