variable "name" {
  description = "What it is called."
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "subnets" {
  description = "Hosts are spread over them, in turns."
  type        = list(string)
}

variable "image" {
  description = "The AMI of new hosts."
  type        = string
}

variable "servers" {
  description = "Servers of the control plane: 1, or 3 to survive the loss of one."
  type        = number

  validation {
    condition     = contains([1, 3, 5], var.servers)
    error_message = "An even number of servers survives no more than one less would: use 1, 3 or 5."
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
  description = "From where SSH and the Kubernetes API are reached."
  type        = list(string)
}

variable "public_ports" {
  type    = list(number)
  default = [80, 443]
}

variable "user" {
  description = "Who deploys log in as."
  type        = string
}

variable "ssh_keys" {
  description = "Public keys that may log in."
  type        = list(string)
}

variable "tags" {
  description = "What the disks of the hosts are tagged with."
  type        = map(string)
}
