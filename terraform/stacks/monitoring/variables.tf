variable "budget" {
  description = "Monthly budget in USD, the same as in [cost] of the environment file."
  type        = number
}

variable "thresholds" {
  description = "Percentages of the budget that trigger an alert."
  type        = list(number)
  default     = [50, 80, 100]
}

variable "mail" {
  description = "Mail addresses for alerts."
  type        = list(string)
  default     = []
}
