# Nothing is made that the platform has already: buckets, key, bus, network, topic, boundary.
module "bulk_inference" {
  source = "../.."

  name   = var.name
  models = var.models

  # Given, so that planning needs no call to Bedrock.
  model_settings = {
    for model, destinations in var.destination_model_arns : model => { destination_model_arns = destinations }
  }

  input_bucket  = { name = var.input_bucket }
  output_bucket = { name = var.output_bucket }
  kms_key       = { arn = var.kms_key_arn }
  event_bus     = { name = var.event_bus }

  vpc = {
    subnet_ids         = var.subnet_ids
    security_group_ids = [aws_security_group.functions.id]
  }

  permissions_boundary_arn = var.permissions_boundary_arn
  role_path                = var.role_path
  alarm_topic              = { arn = var.alarm_topic_arn }
  logs                     = { kms_key_arn = var.log_kms_key_arn }
}

# Functions and batch jobs call AWS by its endpoints, and nobody calls them.
resource "aws_security_group" "functions" {
  name        = "${var.name}-functions"
  description = "Functions and batch jobs of ${var.name}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  security_group_id            = aws_security_group.functions.id
  description                  = "Interface endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.endpoints.id
}

# S3 and DynamoDB are reached through gateways, which are routes, not addresses in the VPC.
resource "aws_vpc_security_group_egress_rule" "gateways" {
  for_each = var.gateway_prefix_lists

  security_group_id = aws_security_group.functions.id
  description       = "Gateway of ${each.key}"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = each.value
}
