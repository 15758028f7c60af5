# An SNS topic for people and programs, and a budget that alerts through it. The budget covers the whole account, so it
# fits environments with their own account. `crew cost` reports the bill by tag and service.

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

locals {
  topic = "arn:aws:sns:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:${var.name}-alerts"
}

data "aws_iam_policy_document" "publish" {
  statement {
    sid       = "BudgetsAndAlarms"
    actions   = ["sns:Publish"]
    resources = [local.topic]

    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [local.topic]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

# AWS's own key for SNS does not let budgets and alarms publish. This key costs 1 USD a month.
resource "aws_kms_key" "alerts" {
  description         = "Alerts of ${var.name}"
  policy              = data.aws_iam_policy_document.key.json
  enable_key_rotation = true
}

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "Administration"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  statement {
    sid       = "BudgetsAndAlarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }
  }
}

# The policy is an attribute of the topic: as a separate resource, it would be reported as an outside change.
resource "aws_sns_topic" "alerts" {
  name              = "${var.name}-alerts"
  policy            = data.aws_iam_policy_document.publish.json
  kms_master_key_id = aws_kms_key.alerts.arn
}

resource "aws_sns_topic_subscription" "mail" {
  for_each = toset(var.mail)

  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_budgets_budget" "month" {
  account_id   = data.aws_caller_identity.current.account_id
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = format("%.1f", var.budget)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  time_period_start = "2026-01-01_00:00"

  dynamic "notification" {
    for_each = var.thresholds

    content {
      comparison_operator       = "GREATER_THAN"
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      notification_type         = "ACTUAL"
      subscriber_sns_topic_arns = [aws_sns_topic.alerts.arn]
    }
  }
}
