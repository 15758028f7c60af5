# Run by `make test-stacks`. No cloud is asked: the provider is a mock.

mock_provider "aws" {
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/1" }
  }
}

variables {
  name     = "acme-test"
  instance = "arn:aws:rds:eu-central-1:123456789012:db:acme-test"
}

run "backups_are_copied_with_a_key_of_their_region" {
  assert {
    condition     = aws_db_instance_automated_backups_replication.this.kms_key_id == aws_kms_key.this.arn && aws_kms_key.this.enable_key_rotation
    error_message = "The copies have no key of their region."
  }

  assert {
    condition     = aws_db_instance_automated_backups_replication.this.source_db_instance_arn == var.instance && aws_db_instance_automated_backups_replication.this.retention_period == 7
    error_message = "Backups of another instance are copied, or for another time."
  }

  assert {
    condition     = aws_kms_key.this.deletion_window_in_days == 30
    error_message = "A key that is destroyed by mistake is lost sooner than it must be."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    days = 36
  }

  expect_failures = [var.days]
}
