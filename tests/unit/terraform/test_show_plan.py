"""Remove the hashes from a lock file."""

from __future__ import annotations

from terraform.show_plan import without_hashes

LOCKS = """\
# This file is maintained automatically by "terraform init".

provider "registry.terraform.io/hashicorp/aws" {
  version     = "3.39.0"
  constraints = ">= 3.39.0"
  hashes = [
    "h1:goOMfGE4SjLps+hpxJFEM/pZFiNgvi6BMG8/w86+f6k=",
    "zh:0046d7b1b2f0d7b3c5b1f2d7b3c5b1f2d7b3c5b1f2d7b3c5",
  ]
}

provider "registry.terraform.io/hashicorp/tls" {
  version = "3.1.0"
  hashes  = ["h1:fUJX8Zxx38e2kBln+zWr1Tl41X+OuiE++REjrEyiOM4="]
}
"""


def test_versions_stay_and_hashes_are_removed() -> None:
    assert (
        without_hashes(LOCKS)
        == """\
# This file is maintained automatically by "terraform init".

provider "registry.terraform.io/hashicorp/aws" {
  version     = "3.39.0"
  constraints = ">= 3.39.0"
}

provider "registry.terraform.io/hashicorp/tls" {
  version = "3.1.0"
}
"""
    )
