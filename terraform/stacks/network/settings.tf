# The same in every stack: whose it is, where, and that its state lives where crew says (see [terraform] of the environment).

terraform {
  required_version = ">= 1.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }

  backend "s3" {}
}

provider "aws" {
  region = var.region

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

variable "project" {
  type = string
}

variable "owner" {
  description = "Who is asked about it."
  type        = string
}

variable "cost_center" {
  description = "Who pays for it."
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
