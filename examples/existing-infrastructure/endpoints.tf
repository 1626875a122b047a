# Every service that a function calls, so that subnets without a way out are enough. What the VPC has already goes from
# the list.
data "aws_region" "current" {}

locals {
  interfaces = toset([
    "bedrock",         # batch jobs
    "bedrock-runtime", # on-demand calls
    "events",          # completion events
    "logs",            # the functions' logs
    "servicequotas",   # quotas
    "sqs",             # the failure lane
    "states",          # task tokens, executions
    "xray",            # traces, if tracing is on
  ])
  gateways = toset(["dynamodb", "s3"])
}

resource "aws_vpc_endpoint" "interface" {
  for_each = setsubtract(local.interfaces, var.present_endpoints)

  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${data.aws_region.current.id}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = setsubtract(local.gateways, var.present_endpoints)

  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${data.aws_region.current.id}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Endpoints that ${var.name} calls"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "functions" {
  security_group_id            = aws_security_group.endpoints.id
  description                  = "Functions and batch jobs"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.functions.id
}
