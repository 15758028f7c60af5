variable "budget" {
  description = "For a month, in USD: as [cost] of the environment file has it."
  type        = number
}

variable "thresholds" {
  description = "Per cent of the budget."
  type        = list(number)
  default     = [50, 80, 100]
}

variable "mail" {
  description = "Addresses that are told."
  type        = list(string)
  default     = []
}
