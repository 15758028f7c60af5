variable "name" {
  description = "Name of the resources, and prefix of their names."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the hosts."
  type        = string
}

variable "subnets" {
  description = "Subnets for the hosts, used in turn."
  type        = list(string)
}

variable "image" {
  description = "AMI of new hosts."
  type        = string
}

variable "servers" {
  description = "Number of control plane servers: 1, or 3 to survive the loss of one."
  type        = number

  validation {
    condition     = contains([1, 3, 5], var.servers)
    error_message = "An even number of servers survives no more failures than one server less. Use 1, 3 or 5."
  }
}

variable "agents" {
  description = "Number of agents."
  type        = number

  validation {
    condition     = var.agents >= 0 && floor(var.agents) == var.agents
    error_message = "Use 0 or a positive whole number of agents."
  }
}

variable "server" {
  description = "Instance type and disk size in GB of a server."
  type        = object({ type = string, disk = number })

  validation {
    condition     = var.server.disk >= 20
    error_message = "A K3s server needs a disk of at least 20 GB."
  }
}

variable "agent" {
  description = "Instance type and disk size in GB of an agent."
  type        = object({ type = string, disk = number })

  validation {
    condition     = var.agent.disk >= 20
    error_message = "A K3s agent needs a disk of at least 20 GB."
  }
}

variable "admins" {
  description = "Networks that can reach SSH and the Kubernetes API."
  type        = list(string)

  validation {
    condition     = alltrue([for network in var.admins : can(cidrhost(network, 0)) && !endswith(network, "/0")])
    error_message = "Use networks such as 198.51.100.0/24. A network of /0 would open SSH and the Kubernetes API to everybody."
  }
}

variable "load_balancer" {
  description = "Put a network load balancer in front of the Kubernetes API. Null: with more than one server."
  type        = bool
  default     = null
}

variable "public_ports" {
  description = "TCP ports that everybody can reach."
  type        = list(number)
  default     = [80, 443]

  validation {
    condition     = length(setintersection(var.public_ports, [22, 2379, 2380, 6443, 8472, 10250])) == 0
    error_message = "The ports 22, 2379, 2380, 6443, 8472 and 10250 belong to SSH and to the cluster itself. Do not open them to everybody."
  }
}

variable "user" {
  description = "User that deploys log in as."
  type        = string
}

variable "ssh_keys" {
  description = "Public keys that can log in."
  type        = list(string)

  validation {
    condition     = length(var.ssh_keys) > 0
    error_message = "Without a public key, nobody can log in to the hosts."
  }
}

variable "tags" {
  description = "Tags for the disks of the hosts."
  type        = map(string)
}

variable "snapshots_bucket" {
  description = "Bucket for etcd snapshots. The servers get a role that can write them. Empty: no role."
  type        = string
  default     = ""
}

variable "snapshots_folder" {
  description = "Folder in that bucket."
  type        = string
  default     = "etcd"
}
