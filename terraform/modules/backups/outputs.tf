output "bucket" {
  value = aws_s3_bucket.this.id
}

output "roles" {
  description = "writer, pruner and restorer, each with its ARN."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
}
