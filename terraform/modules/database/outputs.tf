output "address" {
  description = "Host name of the primary."
  value       = aws_db_instance.primary.address
}

output "arn" {
  description = "ARN of the primary."
  value       = aws_db_instance.primary.arn
}

output "replicas" {
  description = "Host names of the replicas."
  value       = aws_db_instance.replica[*].address
}

output "password_secret" {
  description = "ARN of the secret with the password that RDS made; null if you set one."
  value       = one(aws_db_instance.primary.master_user_secret[*].secret_arn)
}
