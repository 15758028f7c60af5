output "dev_servers" {
  description = "As pyinfra wants its hosts."
  value       = [{ name = "${var.name}-dev-server", ssh_hostname = aws_instance.this.public_ip, ssh_user = var.user }]
}
