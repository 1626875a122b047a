# What an operator must look at: records that nothing but a person can help, and records that wait too long.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = var.alarm_topic == null ? 0 : 1

  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "Failed records of ${var.name} wait for an operator: see the errorClass of the messages, then redrive, resubmit or drop them with ${module.redrive_failures.name}"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letter.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic.arn]
  ok_actions          = [var.alarm_topic.arn]
  tags                = var.tags
}

# Dead letters die fourteen days after their record first failed; the age that the alarm sees counts from their move into
# this queue. So the days in the queue before are taken off, and two more: the alarm's own hour, and an operator's day.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
resource "aws_cloudwatch_metric_alarm" "old_dead_letters" {
  count = var.alarm_topic == null ? 0 : 1

  alarm_name          = "${var.name}-old-dead-letters"
  alarm_description   = "Failed records of ${var.name} have waited for ${local.dead_letter_days} days; SQS may delete their messages two days from now"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.dead_letter.name }
  statistic           = "Maximum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = local.dead_letter_days * 86400
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic.arn]
  ok_actions          = [var.alarm_topic.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "reprocess_age" {
  for_each = var.alarm_topic == null ? {} : local.lanes

  alarm_name          = "${each.value.queue}-age"
  alarm_description   = "Failed records of priority ${each.key} of ${var.name} wait longer than half of their queue's retention"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = local.retention_seconds / 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic.arn]
  ok_actions          = [var.alarm_topic.arn]
  tags                = var.tags
}

# What the functions themselves say of runs that need an operator. Their metrics carry the function's name.
# https://docs.aws.amazon.com/powertools/python/latest/core/metrics/
locals {
  troubles = {
    runs-abandoned = {
      function = "reconcile_jobs"
      metric   = "RunsAbandoned"
      text     = "the execution of a run had ended and nothing had followed: were its events lost, does stop_run fail?"
    }
    runs-inconsistent = {
      function = "finish_run"
      metric   = "RunsInconsistent"
      text     = "a run does not conserve its records: its manifest names the shard under problems"
    }
    runs-incomplete = {
      function = "finish_run"
      metric   = "RunsIncomplete"
      text     = "units of work of a run died: its manifest says why, a redrive of its execution does what is pending"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "troubles" {
  for_each = var.alarm_topic == null ? {} : local.troubles

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${var.name}: ${each.value.text}"
  namespace           = "BulkInference"
  metric_name         = each.value.metric
  dimensions          = { service = "${var.name}-${each.value.function}" }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic.arn]
  tags                = var.tags
}

# One pass that AWS throttles is made up for by the next. If every pass of half an hour is, nobody finds lost events.
resource "aws_cloudwatch_metric_alarm" "reconciliation_throttled" {
  count = var.alarm_topic == null ? 0 : 1

  alarm_name          = "${var.name}-reconciliation-throttled"
  alarm_description   = "${var.name}-reconcile_jobs is throttled on every pass: jobs whose event was lost are not found"
  namespace           = "BulkInference"
  metric_name         = "ReconciliationThrottled"
  dimensions          = { service = "${var.name}-reconcile_jobs" }
  statistic           = "Sum"
  period              = 600
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic.arn]
  ok_actions          = [var.alarm_topic.arn]
  tags                = var.tags
}
