variable "name" {
  description = "What it is called."
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "subnets" {
  description = "Private ones, in two zones at least."
  type        = list(string)
}

variable "clients" {
  description = "Addresses that may connect."
  type        = list(string)
}

variable "engine_version" {
  description = "The major version alone: RDS moves on to minor ones by itself."
  type        = string
  default     = "16"
}

variable "instance_class" {
  type = string
}

variable "disk" {
  description = "In GB."
  type        = number
}

variable "username" {
  description = "The owner's name."
  type        = string
}

variable "password" {
  description = "The owner's password; it is kept in the state."
  type        = string
  sensitive   = true
}

variable "replicas" {
  type    = number
  default = 0
}

variable "multi_az" {
  description = "A standby in another zone."
  type        = bool
  default     = false
}

variable "backup_days" {
  description = "RDS's own backups, for point-in-time recovery. Our own are another copy, elsewhere."
  type        = number
  default     = 7
}

variable "protected" {
  description = "Not to be deleted, and not without a last snapshot."
  type        = bool
}
