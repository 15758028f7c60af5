variable "name" {
  description = "Name of the resources, and prefix of their names."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the host."
  type        = string
}

variable "subnet" {
  description = "Public subnet of the host."
  type        = string
}

variable "image" {
  description = "AMI of the first boot."
  type        = string
}

variable "type" {
  description = "Instance type. The default, 8 vCPU and 32 GB, is enough for five developers."
  type        = string
  default     = "m5.2xlarge"
}

variable "disk" {
  description = "Disk size in GB."
  type        = number
  default     = 200
}

variable "admins" {
  description = "Networks that can reach SSH."
  type        = list(string)

  validation {
    condition     = alltrue([for network in var.admins : can(cidrhost(network, 0)) && !endswith(network, "/0")])
    error_message = "Use networks such as 198.51.100.0/24. A network of /0 would open SSH to everybody."
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
    error_message = "Without a public key, nobody can log in to the host."
  }
}

variable "tags" {
  description = "Tags for the disks of the hosts."
  type        = map(string)
}
