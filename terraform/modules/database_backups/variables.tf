variable "name" {
  description = "Name of the database, for the description of the key."
  type        = string
}

variable "instance" {
  description = "ARN of the RDS instance."
  type        = string
}

variable "days" {
  description = "Days to keep the copies. RDS cannot change it: a new value starts new copies, and the old ones stay until they expire."
  type        = number
  default     = 7

  validation {
    condition     = var.days >= 1 && var.days <= 35
    error_message = "RDS keeps copied backups for 1 to 35 days."
  }
}
