variable "name" {
  description = "Name of the pipeline; prefix of bucket names and of the key's alias."
  type        = string
}

variable "account" {
  description = "Where this is applied: partition (\"aws\"), the partition's DNS suffix (\"amazonaws.com\"), Region and account id."
  type = object({
    partition  = string
    dns_suffix = string
    region     = string
    id         = string
  })
}

variable "tenants" {
  description = "Tenants, whose names are prefixes in both buckets: lifecycle rules are made for each."
  type        = set(string)
}

variable "input_bucket" {
  description = "Bucket to use instead of making one for corpora and shards."
  type        = object({ name = string })
  default     = null
}

variable "output_bucket" {
  description = "Bucket to use instead of making one for results."
  type        = object({ name = string })
  default     = null
}

variable "kms_key" {
  description = "KMS key to use instead of making one."
  type        = object({ arn = string })
  default     = null
}

variable "force_destroy" {
  description = "Whether destroying a bucket made here also deletes its objects."
  type        = bool
  default     = false
}

variable "retention" {
  description = "Days that objects of buckets made here live; 0 keeps them (the last two must be at least 1)."
  type = object({
    run_files_days          = number
    raw_output_days         = number
    results_days            = number
    noncurrent_version_days = number
    incomplete_upload_days  = number
  })
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}
