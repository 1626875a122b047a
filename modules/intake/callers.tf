# For those who send documents and those who ask for them: policies to attach to their roles.

data "aws_iam_policy_document" "sender" {
  statement {
    sid       = "SendDocuments"
    actions   = ["sqs:SendMessage"]
    resources = [for queue in values(local.queues) : queue.arn]
  }
}

data "aws_iam_policy_document" "status_reader" {
  statement {
    sid       = "AskForStatus"
    actions   = ["lambda:InvokeFunction"]
    resources = [module.intake_status.planned_arn]
  }
}
