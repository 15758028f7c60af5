variable "database_zones" {
  description = "The network has a private subnet in each: at least two."
  type        = list(string)
}

variable "instance_class" {
  type = string
}

variable "disk" {
  description = "In GB."
  type        = number
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

variable "protected" {
  description = "Not to be deleted, and not without a last snapshot."
  type        = bool
  default     = false
}

variable "database_password" {
  description = "The owner's, from TF_VAR_database_password: never in a file."
  type        = string
  sensitive   = true
}
