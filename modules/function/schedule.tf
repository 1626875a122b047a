# The function by the clock.

resource "aws_scheduler_schedule" "this" {
  count = var.schedule == null ? 0 : 1

  name                = local.name
  description         = var.schedule.description
  schedule_expression = var.schedule.expression

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = local.arn
    role_arn = "arn:${var.account.partition}:iam::${var.account.id}:role${aws_iam_role.schedule[0].path}${aws_iam_role.schedule[0].name}"

    # The next pass comes soon: an old one is worth nothing.
    retry_policy {
      maximum_event_age_in_seconds = 300
      maximum_retry_attempts       = 2
    }

    dead_letter_config {
      arn = var.undelivered_queue.arn
    }
  }

  depends_on = [aws_iam_role_policy.schedule]
}

resource "aws_iam_role" "schedule" {
  count = var.schedule == null ? 0 : 1

  name                 = "${var.name}-${var.schedule.role}-${var.account.region}"
  description          = "Schedule of ${var.handler} of ${var.name}"
  path                 = var.runtime.roles.path
  permissions_boundary = var.runtime.roles.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.schedule_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "schedule" {
  count = var.schedule == null ? 0 : 1

  name   = "permissions"
  role   = aws_iam_role.schedule[0].name
  policy = data.aws_iam_policy_document.schedule[0].json
}

# https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
data "aws_iam_policy_document" "schedule_trust" {
  statement {
    sid     = "SchedulerAssumesForThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account.id]
    }
  }
}

data "aws_iam_policy_document" "schedule" {
  count = var.schedule == null ? 0 : 1

  statement {
    sid       = "Invoke${replace(title(replace(var.handler, "_", " ")), " ", "")}"
    actions   = ["lambda:InvokeFunction"]
    resources = [local.planned_arn, "${local.planned_arn}:*"]
  }

  statement {
    sid       = "KeepUndelivered"
    actions   = ["sqs:SendMessage"]
    resources = [var.undelivered_queue.arn]
  }
}
