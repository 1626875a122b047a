# What an operator must look at: messages that could not be processed, and documents that wait too long.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = var.alarm_topic == null ? {} : local.queues

  alarm_name          = each.value.dead_letter_name
  alarm_description   = "Messages of priority ${each.key} for ${var.name} could not be processed: see their attributes errorClass and errorMessage, fix the cause, then move them back"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.value.dead_letter_name }
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

resource "aws_cloudwatch_metric_alarm" "age" {
  for_each = var.alarm_topic == null ? {} : local.queues

  alarm_name          = "${each.value.name}-age"
  alarm_description   = "Messages of priority ${each.key} for ${var.name} wait longer than a quarter of an hour for their consumer"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = each.value.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 900
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic.arn]
  ok_actions          = [var.alarm_topic.arn]
  tags                = var.tags
}
