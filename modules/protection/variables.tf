variable "name" {
  description = "Name of the pipeline, for the message."
  type        = string
}

variable "protected" {
  description = "Whether destroying is refused."
  type        = bool
}
