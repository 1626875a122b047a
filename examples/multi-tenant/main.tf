module "bulk_inference" {
  source = "../.."

  name   = "shared"
  models = ["us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"]

  tenants = {
    # A team with a budget: one model, no more than so many records a run, never before the others.
    acme = {
      models     = ["amazon.nova-lite-v1:0"]
      priorities = ["normal", "low"]
      limits     = { max_records = 100000, job_concurrency = 2 }
    }
    # A team without limits of its own, whose runs are urgent unless they say otherwise.
    globex = {
      defaults = { priority = "high" }
    }
  }

  force_destroy       = var.disposable
  deletion_protection = !var.disposable
}

# What a team works with: it starts, watches and stops runs of its tenant, writes its corpora, reads its results.
resource "aws_iam_role" "team" {
  for_each = module.bulk_inference.tenants

  name               = "shared-team-${each.key}"
  description        = "Runs of tenant ${each.key}"
  assume_role_policy = data.aws_iam_policy_document.people.json
}

resource "aws_iam_role_policy" "team" {
  for_each = aws_iam_role.team

  name   = "bulk-inference"
  role   = each.value.name
  policy = module.bulk_inference.tenants[each.key].policies.everything
}

# In your account: your identity provider, or the roles of the teams' own pipelines.
data "aws_iam_policy_document" "people" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_caller_identity" "current" {}
