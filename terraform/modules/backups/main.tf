# The bucket for crew's backups, records and state, and roles with separate permissions. A job assumes its role through
# an AWS profile: see [store] profiles in the environment file. No role can delete old object versions or lift an object
# lock, so you can recover objects that the pruner's credentials deleted.

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
  checks  = "${aws_s3_bucket.this.arn}/*/check/*"

  writes = merge(
    {
      writer   = concat(local.bookkeeping, [local.sets])
      pruner   = local.bookkeeping
      restorer = concat(local.bookkeeping, [local.results])
    },
    length(var.copies_to) > 0 ? { copier = local.bookkeeping } : {},
  )

  # `crew check` locks a test object. The writer locks new sets, the pruner renews the locks of sets that stay.
  locks = {
    writer   = [local.sets, local.checks]
    pruner   = [local.sets, local.checks]
    restorer = [local.checks]
    copier   = [local.checks]
  }

  copies = [for bucket in var.copies_to : "arn:aws:s3:::${bucket}"]
}

resource "aws_s3_bucket" "this" {
  bucket = var.bucket
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  # Incomplete uploads cost money and do not appear in listings.
  rule {
    id     = "open-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  # Objects that retention removed stay recoverable for this time. S3 waits longer for a version that is locked.
  rule {
    id     = "removed"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.undelete_days
    }
  }

  # A delete marker is of no use once the versions that it hid are gone.
  rule {
    id     = "delete-markers"
    status = "Enabled"

    filter {}

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

# Without a default: crew locks the objects of backups, but not records, leases and alerts, which it replaces.
resource "aws_s3_bucket_object_lock_configuration" "this" {
  count = var.object_lock ? 1 : 0

  bucket              = aws_s3_bucket.this.id
  object_lock_enabled = "Enabled"

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.tls_only.json

  depends_on = [aws_s3_bucket_public_access_block.this]
}

data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]

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
    resources = [aws_s3_bucket.this.arn]

    actions = [
      "s3:ListBucket",
      "s3:ListBucketVersions",
      "s3:ListBucketMultipartUploads",
      "s3:GetBucketLocation",
      "s3:GetBucketVersioning",
    ]
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:ListMultipartUploadParts"]
    resources = ["${aws_s3_bucket.this.arn}/*"]
  }

  statement {
    sid       = "Write"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = each.value
  }

  statement {
    sid       = "Lock"
    actions   = ["s3:PutObjectRetention"]
    resources = local.locks[each.key]
  }

  # The job `copy` reads here and writes there. It deletes nowhere.
  dynamic "statement" {
    for_each = each.key == "copier" ? ["ListCopies"] : []

    content {
      sid       = statement.value
      actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
      resources = local.copies
    }
  }

  dynamic "statement" {
    for_each = each.key == "copier" ? ["WriteCopies"] : []

    content {
      sid       = statement.value
      resources = flatten([for arn in local.copies : ["${arn}/*/backups/*", "${arn}/*/check/*"]])

      actions = [
        "s3:GetObject",
        "s3:GetObjectRetention",
        "s3:PutObject",
        "s3:PutObjectRetention",
        "s3:AbortMultipartUpload",
      ]
    }
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
