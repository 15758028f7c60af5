variable "name" {
  description = "Name of the resources, and prefix of their names."
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "subnets" {
  description = "Private subnets in at least two zones."
  type        = list(string)
}

variable "clients" {
  description = "Networks that can connect."
  type        = list(string)
}

variable "engine_version" {
  description = "Major version only. RDS upgrades minor versions itself."
  type        = string
  default     = "16"
}

variable "instance_class" {
  type = string
}

variable "disk" {
  description = "Disk size in GB."
  type        = number
}

variable "username" {
  description = "Name of the owner role."
  type        = string
}

variable "password" {
  description = "Password of the owner role. It is stored in the state."
  type        = string
  sensitive   = true
}

variable "replicas" {
  type    = number
  default = 0
}

variable "multi_az" {
  description = "Run a standby in another zone."
  type        = bool
  default     = false
}

variable "backup_days" {
  description = "Days to keep RDS backups for point-in-time recovery. crew makes separate backups in another place."
  type        = number
  default     = 7
}

variable "protected" {
  description = "Protect the database from deletion, and take a final snapshot if it is deleted."
  type        = bool
}
