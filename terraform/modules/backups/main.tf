# The bucket for crew's backups, records and state, and three roles with separate permissions. A job assumes its role
# through an AWS profile: see [store] profiles in the environment file. No role can delete old object versions, so you can
# recover objects that the pruner's credentials deleted.

data "aws_caller_identity" "current" {}

locals {
  account = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:root"
  trusted = length(var.trusted) > 0 ? var.trusted : [local.account]

  # Every job writes its record, lock and alerts. It also writes a test object to check that the store supports locks.
  bookkeeping = concat(
    [for folder in ["runs", "locks", "alerts", "check"] : "${aws_s3_bucket.this.arn}/*/${folder}/*"],
    ["${aws_s3_bucket.this.arn}/*/conditions", "${aws_s3_bucket.this.arn}/conditions"],
  )

  sets    = "${aws_s3_bucket.this.arn}/*/backups/*"
  results = "${aws_s3_bucket.this.arn}/*/backups/*/verifications/*"

  writes = {
    writer   = concat(local.bookkeeping, [local.sets])
    pruner   = local.bookkeeping
    restorer = concat(local.bookkeeping, [local.results])
  }
}

resource "aws_s3_bucket" "this" {
  bucket = var.bucket

  versioning {
    enabled = true
  }

  server_side_encryption_configuration {
    rule {
      apply_server_side_encryption_by_default {
        sse_algorithm = "AES256"
      }
    }
  }

  # Incomplete uploads cost money and do not appear in listings.
  lifecycle_rule {
    id                                     = "open-uploads"
    enabled                                = true
    abort_incomplete_multipart_upload_days = 7
  }

  # Objects that retention removed stay recoverable for this time.
  lifecycle_rule {
    id      = "removed"
    enabled = true

    noncurrent_version_expiration {
      days = var.undelete_days
    }
  }

  dynamic "object_lock_configuration" {
    for_each = var.lock_days > 0 ? [var.lock_days] : []

    content {
      object_lock_enabled = "Enabled"

      rule {
        default_retention {
          mode = "GOVERNANCE"
          days = object_lock_configuration.value
        }
      }
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = local.trusted
    }
  }
}

data "aws_iam_policy_document" "permissions" {
  for_each = local.writes

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.this.arn]
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject", "s3:ListMultipartUploadParts"]
    resources = ["${aws_s3_bucket.this.arn}/*"]
  }

  statement {
    sid       = "Write"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = each.value
  }

  # Only a verification writes results: a machine that takes backups cannot say that they are good.
  dynamic "statement" {
    for_each = each.key == "writer" ? ["NoResults"] : []

    content {
      sid       = statement.value
      effect    = "Deny"
      actions   = ["s3:PutObject"]
      resources = [local.results]
    }
  }

  dynamic "statement" {
    for_each = each.key == "pruner" ? ["Remove"] : []

    content {
      sid       = statement.value
      actions   = ["s3:DeleteObject", "s3:AbortMultipartUpload"]
      resources = concat(local.bookkeeping, [local.sets])
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.writes

  name               = "${var.name}-backups-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "this" {
  for_each = local.writes

  name   = "backups"
  role   = aws_iam_role.this[each.key].id
  policy = data.aws_iam_policy_document.permissions[each.key].json
}
