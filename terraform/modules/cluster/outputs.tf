output "security_group" {
  value = aws_security_group.this.id
}

output "k3s_servers" {
  description = "As pyinfra wants its hosts; the first one founds the cluster."
  value       = [for name in keys(local.servers) : { name = "${var.name}-${name}", ssh_hostname = aws_instance.this[name].public_ip, ssh_user = var.user }]
}

output "k3s_agents" {
  description = "As pyinfra wants its hosts."
  value       = [for name in keys(local.agents) : { name = "${var.name}-${name}", ssh_hostname = aws_instance.this[name].public_ip, ssh_user = var.user }]
}
