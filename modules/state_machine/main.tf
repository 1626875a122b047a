# One state machine with all that is its own: definition, log group, role, traces.

locals {
  name       = "${var.name}-${var.machine}"
  states     = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}"
  arn        = "${local.states}:stateMachine:${local.name}"
  executions = "${local.states}:execution:${local.name}"

  # Roles are global: the Region keeps pipelines of one name apart. 64 characters are what IAM allows: a longer name is cut
  # and told apart by its hash.
  long_role_name = "${local.name}-${var.account.region}"
  role_name      = length(local.long_role_name) <= 64 ? local.long_role_name : "${substr(local.long_role_name, 0, 55)}-${substr(sha256(local.long_role_name), 0, 8)}"
}

resource "aws_sfn_state_machine" "this" {
  name       = local.name
  type       = "STANDARD"
  role_arn   = "arn:${var.account.partition}:iam::${var.account.id}:role${aws_iam_role.this.path}${aws_iam_role.this.name}"
  definition = var.definition
  tags       = var.tags

  # Execution data is kept out of the logs: a run request holds its prompt.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "arn:${var.account.partition}:logs:${var.account.region}:${var.account.id}:log-group:${aws_cloudwatch_log_group.this.name}:*"
  }

  tracing_configuration {
    enabled = var.runtime.tracing
  }

  # Step Functions checks at creation that the role can deliver logs.
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy.key]
}

# The prefix /aws/vendedlogs/ keeps the account's log resource policy short.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/vendedlogs/states/${local.name}"
  retention_in_days = var.runtime.logs.retention_days
  kms_key_id        = var.runtime.logs.kms_key_arn
  tags              = var.tags
}
