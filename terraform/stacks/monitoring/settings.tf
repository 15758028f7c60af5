# The same file in every stack: provider, tags and backend. crew sets the location of the state (see [terraform] state).

terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  backend "s3" {}
}

provider "aws" {
  region              = var.region
  allowed_account_ids = var.account_id == "" ? null : [var.account_id]

  default_tags {
    tags = local.tags
  }
}

variable "environment" {
  type = string
}

variable "region" {
  type = string
}

variable "account_id" {
  description = "AWS account of the environment. Terraform refuses credentials of other accounts. Empty: it does not check."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9]{12})?$", var.account_id))
    error_message = "An AWS account has twelve digits."
  }
}

variable "project" {
  type = string
}

variable "owner" {
  description = "Team or person responsible for the resources."
  type        = string
}

variable "cost_center" {
  description = "Cost center that pays for the resources."
  type        = string
}

locals {
  name = "${var.project}-${var.environment}"

  tags = {
    Environment = var.environment
    Project     = var.project
    Owner       = var.owner
    CostCenter  = var.cost_center
  }
}
