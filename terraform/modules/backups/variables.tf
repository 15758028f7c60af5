variable "name" {
  description = "Prefix of the role names."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket. It must be unique across all AWS accounts."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "Use 3 to 63 small letters, digits and hyphens. A dot in the name would break TLS."
  }
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

  validation {
    condition     = var.undelete_days >= 1
    error_message = "Use at least 1 day."
  }
}

variable "lock_days" {
  description = "Days of object lock, during which nobody can delete a backup, not even the pruner. 0: no lock. Set it only for a new bucket, and to fewer days than retention keeps."
  type        = number
  default     = 0

  validation {
    condition     = var.lock_days >= 0
    error_message = "Use 0 for no lock, or the number of days."
  }
}
