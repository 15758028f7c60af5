"""`make pictures`: take the screenshot of the status page in the README, of a sample repository with 90 days."""

from __future__ import annotations

import tempfile
from pathlib import Path

from jobs.run.documents import utc_now
from tests.parts import sample_repository
from tests.parts.browser import screenshot
from tests.parts.crew import Repository

STATUS = Path(__file__).parents[1] / "docs" / "status.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sample_repository.build(root, utc_now())
        (root / "inventories" / "ruin.toml").unlink()
        (root / "inventories" / "ruin").unlink()
        page = root / "status.html"
        Repository(root).crew("status", "--html", str(page))
        screenshot(page, STATUS, root, width=900, height=1400)
    print(f"wrote docs/{STATUS.name}: {STATUS.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
