variable "name" {
  description = "Name of the resources, and prefix of their names."
  type        = string
}

variable "vpc_id" {
  type = string
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
  type = number
}

variable "server" {
  type = object({ type = string, disk = number })
}

variable "agent" {
  type = object({ type = string, disk = number })
}

variable "admins" {
  description = "Networks that can reach SSH and the Kubernetes API."
  type        = list(string)
}

variable "public_ports" {
  type    = list(number)
  default = [80, 443]
}

variable "user" {
  description = "User that deploys log in as."
  type        = string
}

variable "ssh_keys" {
  description = "Public keys that can log in."
  type        = list(string)
}

variable "tags" {
  description = "Tags for the disks of the hosts."
  type        = map(string)
}
