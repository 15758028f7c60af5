variable "bucket" {
  type = string
}

variable "trusted" {
  description = "ARNs that can assume the roles. Default: principals of this account whose policies allow it."
  type        = list(string)
  default     = []
}

variable "undelete_days" {
  type    = number
  default = 14
}

variable "lock_days" {
  description = "Days of object lock, during which nobody can delete a backup. 0: no lock."
  type        = number
  default     = 0
}
