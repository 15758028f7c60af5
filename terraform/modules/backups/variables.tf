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

variable "object_lock" {
  description = "Whether the bucket supports object lock. It cannot be disabled again. The environment file sets how long backups are locked: [store] lock."
  type        = bool
  default     = false
}

variable "copies_to" {
  description = "Names of buckets that the job copy writes. With one, there is a role copier, which reads this bucket, writes sets there, and deletes nowhere."
  type        = list(string)
  default     = []
}
