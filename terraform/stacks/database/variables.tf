variable "database_zones" {
  description = "Zones of the database, at least two. The network stack must have a private subnet in each."
  type        = list(string)
}

variable "instance_class" {
  type = string
}

variable "disk" {
  description = "Disk size in GB."
  type        = number
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

variable "protected" {
  description = "Protect the database from deletion, and take a final snapshot if it is deleted."
  type        = bool
  default     = false
}

variable "database_password" {
  description = "Password of the owner role. Set TF_VAR_database_password; do not write it to a file. Empty: RDS makes one."
  type        = string
  default     = ""
  sensitive   = true
}

variable "max_disk" {
  description = "Size in GB up to which RDS grows the disk. 0: it does not grow."
  type        = number
  default     = 0
}

variable "backup_region" {
  description = "Another region, to which RDS copies its automated backups. Empty: it copies none."
  type        = string
  default     = ""

  validation {
    condition     = var.backup_region != var.region
    error_message = "The copies need a region other than that of the database."
  }
}

variable "backup_region_days" {
  description = "Days to keep the copies."
  type        = number
  default     = 7
}
