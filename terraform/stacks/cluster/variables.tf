variable "zones" {
  description = "Where hosts are; the network has a subnet in each."
  type        = list(string)
}

variable "servers" {
  description = "K3s servers: 0, 1, 3 or 5."
  type        = number
  default     = 0
}

variable "agents" {
  type    = number
  default = 0
}

variable "server" {
  type    = object({ type = string, disk = number })
  default = { type = "t3.medium", disk = 40 }
}

variable "agent" {
  type    = object({ type = string, disk = number })
  default = { type = "t3.xlarge", disk = 80 }
}

variable "dev_server" {
  description = "One host that developers share."
  type        = bool
  default     = false
}

variable "admins" {
  description = "From where SSH and the Kubernetes API are reached."
  type        = list(string)
}

variable "user" {
  description = "Who deploys log in as."
  type        = string
  default     = "admin"
}

variable "ssh_keys" {
  description = "Public keys that may log in."
  type        = list(string)
}

variable "image_owner" {
  description = "Whose images: Debian's own account."
  type        = string
  default     = "136693071363"
}

variable "image_name" {
  description = "Which of them, as a regular expression."
  type        = string
  default     = "^debian-12-amd64-"
}
