variable "name" {
  description = "Name of the resources, and prefix of their names."
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "subnet" {
  type = string
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
