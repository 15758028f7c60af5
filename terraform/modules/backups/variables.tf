variable "name" {
  description = "Prefix of the role names."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket. It must be unique across all AWS accounts."
  type        = string
}

variable "trusted" {
  description = "ARNs that can assume the roles. Default: principals of this account whose policies allow it."
  type        = list(string)
  default     = []
}

variable "undelete_days" {
  description = "Days during which removed objects are recoverable."
  type        = number
  default     = 14
}

variable "lock_days" {
  description = "Days of object lock, during which nobody can delete a backup, not even the pruner. 0: no lock. Set it only for a new bucket, and to fewer days than retention keeps."
  type        = number
  default     = 0
}
