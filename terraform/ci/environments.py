"""The environments that have stacks, as a workflow makes its jobs of them: environments=["production", "staging"]."""

from __future__ import annotations

import json
import sys

from inventories import BadEnvironment, Repository


def main() -> None:
    """Print them as an output of a step."""
    repository = Repository.find()
    names = [name for name in repository.names() if has_stacks(repository, name)]
    sys.stdout.write(f"environments={json.dumps(names)}\n")


def has_stacks(repository: Repository, name: str) -> bool:
    """Whether it has any; of a file with faults it is taken for granted, so that a job of its own tells them."""
    try:
        return bool(repository.read(name).stacks)
    except BadEnvironment:
        return True


if __name__ == "__main__":
    main()
