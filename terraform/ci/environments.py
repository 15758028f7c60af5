"""Print the environments that have stacks as a step output for GitHub: environments=["production", "staging"]."""

from __future__ import annotations

import json
import sys

from inventories import BadEnvironment, Repository


def main() -> None:
    """Print the names as a step output."""
    repository = Repository.find()
    names = [name for name in repository.names() if has_stacks(repository, name)]
    sys.stdout.write(f"environments={json.dumps(names)}\n")


def has_stacks(repository: Repository, name: str) -> bool:
    """Return whether an environment has stacks; True for an invalid file, so that its own job reports the faults."""
    try:
        return bool(repository.read(name).stacks)
    except BadEnvironment:
        return True


if __name__ == "__main__":
    main()
