# pyinfra's groups of hosts: docs/stacks.md explains the three ways to use them.
output "pyinfra_inventory" {
  value = {
    k3s_servers = concat([], module.cluster[*].k3s_servers...)
    k3s_agents  = concat([], module.cluster[*].k3s_agents...)
    dev_servers = concat([], module.dev_server[*].dev_servers...)
  }
}
