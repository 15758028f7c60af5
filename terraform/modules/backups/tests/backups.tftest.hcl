# Run by `make test-stacks`. No cloud is asked: the provider is a mock.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  name   = "acme-test"
  bucket = "acme-backups-test"
}

run "old_versions_are_kept_for_a_while" {
  command = plan

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "A removed backup could not be recovered."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule.noncurrent_version_expiration[0].noncurrent_days if rule.id == "removed"] == [14]
    error_message = "Removed backups are not kept for 14 days."
  }
}

run "nobody_else_can_read_the_bucket" {
  command = plan

  assert {
    condition     = aws_s3_bucket_public_access_block.this.block_public_policy && aws_s3_bucket_public_access_block.this.restrict_public_buckets
    error_message = "The bucket can be made public."
  }
}

run "a_lock_is_made_only_when_asked_for" {
  command = plan

  assert {
    condition     = length(aws_s3_bucket_object_lock_configuration.this) == 0
    error_message = "The bucket has object lock, which cannot be switched off."
  }
}

run "a_lock_keeps_backups_for_its_days" {
  command = plan

  variables {
    lock_days = 30
  }

  assert {
    condition     = aws_s3_bucket_object_lock_configuration.this[0].rule[0].default_retention[0].days == 30
    error_message = "The lock has another time."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    bucket        = "Acme.Backups"
    undelete_days = 0
    lock_days     = -1
  }

  expect_failures = [var.bucket, var.undelete_days, var.lock_days]
}
