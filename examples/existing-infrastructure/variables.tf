variable "name" {
  description = "Name of the pipeline."
  type        = string
}

variable "models" {
  description = "Models that runs may use."
  type        = list(string)
}

variable "destination_model_arns" {
  description = "By inference profile of models: the foundation models behind it."
  type        = map(list(string))
  default     = {}
}

variable "input_bucket" {
  description = "Bucket for corpora and shards."
  type        = string
}

variable "output_bucket" {
  description = "Bucket for results."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of both buckets, of tables and queues. Its policy must let the account's IAM policies decide."
  type        = string
}

variable "log_kms_key_arn" {
  description = "Key of log groups, whose policy lets CloudWatch Logs use it; null: CloudWatch's own."
  type        = string
  default     = null
}

variable "event_bus" {
  description = "Bus for completion events."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the functions."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two zones or more."
  type        = list(string)
}

variable "route_table_ids" {
  description = "Route tables of the subnets, for the gateways of S3 and DynamoDB."
  type        = list(string)
}

variable "gateway_prefix_lists" {
  description = "Prefix lists of the gateways, by service: aws ec2 describe-managed-prefix-lists."
  type        = map(string)
}

variable "present_endpoints" {
  description = "Endpoints that the VPC has already, by service: for example [\"s3\", \"logs\"]."
  type        = set(string)
  default     = []
}

variable "permissions_boundary_arn" {
  description = "Boundary of every role."
  type        = string
}

variable "role_path" {
  description = "IAM path of every role."
  type        = string
}

variable "alarm_topic_arn" {
  description = "Topic of the alarms."
  type        = string
}
