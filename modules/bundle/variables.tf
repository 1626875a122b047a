variable "name" {
  description = "Name of the pipeline; prefix of the layer's name."
  type        = string
}

variable "bucket" {
  description = "Bucket that takes the zips; Lambda reads them from there."
  type        = string
}

variable "packages" {
  description = "Where the code comes from instead of this module's own zips: a path, or an object in S3, per package; layers instead of the dependencies package."
  type = object({
    functions = optional(object({
      path              = optional(string)
      s3_bucket         = optional(string)
      s3_key            = optional(string)
      s3_object_version = optional(string)
      source_code_hash  = optional(string)
    }), {})
    dependencies = optional(object({
      path              = optional(string)
      s3_bucket         = optional(string)
      s3_key            = optional(string)
      s3_object_version = optional(string)
      source_code_hash  = optional(string)
    }), {})
    layer_arns = optional(list(string))
  })
  default  = {}
  nullable = false
}

variable "python" {
  description = "Lambda runtime that the layer is made for."
  type        = string
  default     = "python3.13"
}

variable "architecture" {
  description = "CPU that the Parquet layer is made for."
  type        = string
  default     = "arm64"
}

variable "parquet" {
  description = "Where pyarrow comes from: a layer, or a package to make one of (a path, or an object in S3). Null: there is none."
  type = object({
    layer_arn = optional(string)
    package = optional(object({
      path              = optional(string)
      s3_bucket         = optional(string)
      s3_key            = optional(string)
      s3_object_version = optional(string)
      source_code_hash  = optional(string)
    }))
  })
  default = null
}
