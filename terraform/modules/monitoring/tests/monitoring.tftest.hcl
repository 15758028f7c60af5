# Run by `make test-stacks`. No cloud is asked: the provider is a mock.

mock_provider "aws" {
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:acme-test-alerts" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-central-1" }
  }
}

variables {
  name   = "acme-test"
  budget = 300
}

run "each_threshold_alerts" {
  command = plan

  assert {
    condition     = toset([for alert in aws_budgets_budget.month.notification : alert.threshold]) == toset([50, 80, 100])
    error_message = "A threshold has no alert."
  }
}

run "mail_addresses_subscribe" {
  command = plan

  variables {
    mail = ["ops@acme.example"]
  }

  assert {
    condition     = aws_sns_topic_subscription.mail["ops@acme.example"].protocol == "email"
    error_message = "The mail address gets no alerts."
  }
}

run "the_topic_is_encrypted" {
  command = apply

  assert {
    condition     = aws_sns_topic.alerts.kms_master_key_id == aws_kms_key.alerts.arn && aws_kms_key.alerts.enable_key_rotation
    error_message = "The topic is not encrypted with the key that alarms can use."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    budget     = 0
    thresholds = [0, 50]
  }

  expect_failures = [var.budget, var.thresholds]
}
