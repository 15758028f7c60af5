output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "roles" {
  description = "The ARNs of the roles writer, pruner, restorer and, with copies_to, copier."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
}
