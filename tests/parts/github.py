"""A stand-in for `gh` that keeps issues and comments in a folder, and an installed `crew`, for scripts of workflows."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.parts.terraform import ROOT

GH = """#!{python}
import json, os, pathlib, sys
args, folder = sys.argv[1:], pathlib.Path({folder!r})
if " ".join(args).startswith(os.environ.get("GH_FAILS", "never")):
    sys.exit(4)
file = folder / "issues.json"
issues = json.loads(file.read_text()) if file.exists() else []
open_ones = [one for one in issues if one["open"]]
option = lambda name: args[args.index(name) + 1]
if args[:2] == ["issue", "list"]:
    print("".join(f"{{one['number']}}\\n" for one in open_ones if one["title"] in option("--search")), end="")
elif args[:2] == ["issue", "create"]:
    body = pathlib.Path(option("--body-file")).read_text()
    issues.append({{"number": len(issues) + 1, "title": option("--title"), "body": body, "open": True, "edits": 0}})
elif args[:2] in (["issue", "edit"], ["issue", "close"]):
    [one] = [one for one in open_ones if one["number"] == int(args[2])]
    if args[1] == "close":
        one["open"] = False
    else:
        one |= {{"body": pathlib.Path(option("--body-file")).read_text(), "edits": one["edits"] + 1}}
elif args[0] == "api" and "--paginate" in args:
    print("".join(f"{{one['number']}}\\n" for one in issues if one["title"] == "comment"), end="")
elif args[0] == "api":
    body = pathlib.Path(option("--field").removeprefix("body=@")).read_text()
    if "PATCH" in args:
        issues[-1] |= {{"body": body, "edits": issues[-1]["edits"] + 1}}
    else:
        issues.append({{"number": 100, "title": "comment", "body": body, "open": True, "edits": 0}})
else:
    sys.exit(f"gh: unknown {{args}}")
file.write_text(json.dumps(issues))
"""


def programs(folder: Path, root: Path) -> Path:
    """A folder for PATH with both programs. `gh` writes to issues.json in it."""
    return standing_in(folder, f'PYTHONPATH={ROOT} exec {sys.executable} -m jobs.cli --root {root} "$@"')


def standing_in(folder: Path, crew: str) -> Path:
    """The same with a `crew` that runs these lines of shell. `gh` exits with 4 if its arguments start with GH_FAILS."""
    folder.mkdir()
    (folder / "gh").write_text(GH.format(python=sys.executable, folder=str(folder)))
    (folder / "crew").write_text(f"#!/bin/sh\n{crew}\n")
    for one in folder.iterdir():
        one.chmod(0o755)
    return folder
