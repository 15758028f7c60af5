variable "zones" {
  description = "Zones for hosts. The network stack must have a public subnet in each."
  type        = list(string)
}

variable "servers" {
  description = "Number of K3s servers: 0, 1, 3 or 5."
  type        = number
  default     = 0
}

variable "agents" {
  type    = number
  default = 0
}

variable "load_balancer" {
  description = "Put a network load balancer in front of the Kubernetes API. Null: with more than one server."
  type        = bool
  default     = null
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
  description = "Create one host that developers share."
  type        = bool
  default     = false
}

variable "admins" {
  description = "Networks that can reach SSH and the Kubernetes API."
  type        = list(string)
}

variable "user" {
  description = "User that deploys log in as."
  type        = string
  default     = "admin"
}

variable "ssh_keys" {
  description = "Public keys that can log in."
  type        = list(string)
}

variable "image_owner" {
  description = "AWS account that owns the images. Default: the Debian account."
  type        = string
  default     = "136693071363"
}

variable "image_name" {
  description = "Regular expression for the image name."
  type        = string
  default     = "^debian-12-amd64-"
}

variable "snapshots_bucket" {
  description = "Bucket for the etcd snapshots of K3s. The servers get a role that can write to its folder etcd. Empty: no role."
  type        = string
  default     = ""
}
