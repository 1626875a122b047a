module "bulk_inference" {
  source = "../.."

  name   = "tickets"
  models = ["us.anthropic.claude-haiku-4-5-20251001-v1:0"]
}
