variable "name" {
  description = "What it is called."
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "subnet" {
  type = string
}

variable "image" {
  description = "The AMI it begins with."
  type        = string
}

variable "type" {
  description = "For five developers: 8 vCPU and 32 GB."
  type        = string
  default     = "m5.2xlarge"
}

variable "disk" {
  description = "In GB."
  type        = number
  default     = 200
}

variable "admins" {
  description = "From where SSH is reached."
  type        = list(string)
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
