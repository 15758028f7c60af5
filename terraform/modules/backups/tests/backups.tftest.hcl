# Run by `make test-stacks`. No cloud is asked: the provider is a mock.

mock_provider "aws" {
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::acme-backups-test" }
  }
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

run "object_lock_has_no_default_because_records_are_replaced" {
  command = plan

  variables {
    object_lock = true
  }

  assert {
    condition     = aws_s3_bucket_object_lock_configuration.this[0].object_lock_enabled == "Enabled" && length(aws_s3_bucket_object_lock_configuration.this[0].rule) == 0
    error_message = "Object lock is off, or locks everything in the bucket."
  }
}

run "only_the_pruner_deletes_and_nobody_deletes_versions_or_lifts_a_lock" {
  variables {
    copies_to = ["acme-copies-test"]
  }

  assert {
    condition     = join(" ", keys(aws_iam_role.this)) == "copier pruner restorer writer"
    error_message = "There are other roles."
  }

  assert {
    condition     = join(" ", [for name, policy in data.aws_iam_policy_document.permissions : name if anytrue([for statement in policy.statement : contains(statement.actions, "s3:DeleteObject")])]) == "pruner"
    error_message = "Another role than the pruner can delete."
  }

  assert {
    condition     = length(setintersection(flatten([for policy in data.aws_iam_policy_document.permissions : [for statement in policy.statement : tolist(statement.actions)]]), ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:*"])) == 0
    error_message = "A role can delete old versions, or lift a lock."
  }
}

run "the_copier_reads_here_and_writes_sets_there" {
  variables {
    copies_to = ["acme-copies-test"]
  }

  assert {
    condition     = join(" ", flatten([for statement in data.aws_iam_policy_document.permissions["copier"].statement : sort(statement.resources) if statement.sid == "WriteCopies"])) == "arn:aws:s3:::acme-copies-test/*/backups/* arn:aws:s3:::acme-copies-test/*/check/*"
    error_message = "The copier can write something else."
  }

  assert {
    condition     = !contains(flatten([for statement in data.aws_iam_policy_document.permissions["copier"].statement : tolist(statement.resources) if statement.sid == "Write"]), "${aws_s3_bucket.this.arn}/*/backups/*")
    error_message = "The copier can write sets into the bucket that it copies."
  }
}

run "there_is_no_copier_without_copies" {
  command = plan

  assert {
    condition     = join(" ", keys(aws_iam_role.this)) == "pruner restorer writer"
    error_message = "A role without use."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    bucket        = "Acme.Backups"
    undelete_days = 0
  }

  expect_failures = [var.bucket, var.undelete_days]
}
