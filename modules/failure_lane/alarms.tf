# What an operator must look at: records that nothing but a person can help, and records that wait too long.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = var.alarm_topic == null ? 0 : 1

  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "Failed records of ${var.name} wait for an operator: see the errorClass of the messages, then redrive, resubmit or drop them with ${local.functions.redrive_failures.name}"
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

# Dead letters die after fourteen days, counted from when their record first failed.
resource "aws_cloudwatch_metric_alarm" "old_dead_letters" {
  count = var.alarm_topic == null ? 0 : 1

  alarm_name          = "${var.name}-old-dead-letters"
  alarm_description   = "Failed records of ${var.name} have waited for ten days; SQS deletes their messages after fourteen"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.dead_letter.name }
  statistic           = "Maximum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 10 * 86400
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
