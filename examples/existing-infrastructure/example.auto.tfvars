# Stand-ins that plan: put your own.
name   = "tickets"
models = ["us.anthropic.claude-haiku-4-5-20251001-v1:0"]
destination_model_arns = {
  "us.anthropic.claude-haiku-4-5-20251001-v1:0" = [
    "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
    "arn:aws:bedrock:us-east-2::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
    "arn:aws:bedrock:us-west-2::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
  ]
}
input_bucket             = "company-corpora"
output_bucket            = "company-answers"
kms_key_arn              = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
event_bus                = "company"
vpc_id                   = "vpc-0a1b2c3d"
subnet_ids               = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]
route_table_ids          = ["rtb-0a1b2c3d"]
gateway_prefix_lists     = { s3 = "pl-63a5400a", dynamodb = "pl-02cd2c6b" }
permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
role_path                = "/pipelines/"
alarm_topic_arn          = "arn:aws:sns:us-east-1:123456789012:on-call"
