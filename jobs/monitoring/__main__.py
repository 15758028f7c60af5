"""Write rules.yml and dashboard.json into this directory: `make monitoring`."""

from __future__ import annotations

from pathlib import Path

from jobs.monitoring import dashboard, rules

HERE = Path(__file__).parent
FILES = {HERE / "rules.yml": rules.rules_yaml, HERE / "dashboard.json": dashboard.dashboard_json}


def main() -> None:
    """Write both files."""
    for path, render in FILES.items():
        path.write_text(render())


if __name__ == "__main__":
    main()
