# pyinfra's groups of hosts: docs/stacks.md explains the three ways to use them.
output "pyinfra_inventory" {
  value = {
    k3s_servers = [for host in concat([], module.cluster[*].k3s_servers...) : merge(host, { environment = var.environment })]
    k3s_agents  = [for host in concat([], module.cluster[*].k3s_agents...) : merge(host, { environment = var.environment })]
    dev_servers = concat([], module.dev_server[*].dev_servers...)
  }
}
