"""The tables of variables and outputs in the READMEs of the Terraform modules.

`python -m tests.module_tables` writes them. A test compares them with the code.
"""

from __future__ import annotations

import re
from pathlib import Path

MODULES = Path(__file__).parents[1] / "terraform" / "modules"
HEADING = "## Variables and outputs\n"
_BLOCK = r'^{kind} "(\w+)" \{{\n(.*?)^\}}$'
_VALUE = r"^  {name} += (.+)$"


def tables(module: Path) -> str:
    """Return the tables for one module, in the order of its files."""
    rows = ["| variable | what it is | default |", "|---|---|---|"]
    for name, block in _blocks(module / "variables.tf", "variable"):
        rows.append(f"| `{name}` | {_cell(_value(block, 'description'))} | {_default(block)} |")
    rows += ["", "| output | what it is |", "|---|---|"]
    for name, block in _blocks(module / "outputs.tf", "output"):
        rows.append(f"| `{name}` | {_cell(_value(block, 'description'))} |")
    return "\n".join(rows) + "\n"


def _blocks(file: Path, kind: str) -> list[tuple[str, str]]:
    return re.findall(_BLOCK.format(kind=kind), file.read_text(), re.MULTILINE | re.DOTALL)


def _value(block: str, name: str) -> str:
    found = re.search(_VALUE.format(name=name), block, re.MULTILINE)
    return found[1] if found else ""


def _cell(text: str) -> str:
    return text.strip('"').replace('\\"', '"').replace("|", "\\|")


def _default(block: str) -> str:
    default = _value(block, "default")
    return f"`{default}`" if default else "required"


def with_tables(readme: str, module: Path) -> str:
    """Return a README with current tables at its end."""
    head, heading, _ = readme.partition(HEADING)
    if not heading:
        raise ValueError(f"{module.name}/README.md has no heading: {HEADING}")
    return f"{head}{HEADING}\n{tables(module)}"


def main() -> None:
    for module in sorted(folder for folder in MODULES.iterdir() if folder.is_dir()):
        readme = module / "README.md"
        readme.write_text(with_tables(readme.read_text(), module))


if __name__ == "__main__":
    main()
