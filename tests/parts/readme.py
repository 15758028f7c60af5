"""The commands in a README, and the output that it shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md")),
    *sorted(ROOT.glob("jobs/*/README.md")), *sorted(ROOT.glob("terraform/modules/*/README.md")),
    ROOT / "AGENTS.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md",
    ROOT / "tests" / "bench" / "README.md",
]  # fmt: skip
OURS = ("crew", "make", "pyinfra")


@dataclass(frozen=True)
class Typed:
    """One command and its output; None if the page does not show the output."""

    line: int
    command: str
    shown: tuple[str, ...] | None


def typed(page: Path) -> Iterator[Typed]:
    """The commands in the blocks `sh` and `console` of a page, in order."""
    text = page.read_text()
    for block in re.finditer(r"^```(sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        begun = text[: block.start()].count("\n") + 2
        read = _session if block[1] == "console" else _script
        yield from read(block[2].splitlines(), begun)


def _session(lines: list[str], begun: int) -> Iterator[Typed]:
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Typed(begun + start, lines[start][2:], tuple(lines[start + 1 : end]))


def _script(lines: list[str], begun: int) -> Iterator[Typed]:
    """A command continues after a backslash, and up to the END of a here-document."""
    whole: list[str] = []
    for number, line in enumerate(lines):
        whole.append(line)
        if line.endswith("\\") or ("<<'END'" in whole[0] and line != "END"):
            continue
        yield Typed(begun + number - len(whole) + 1, "\n".join(whole), None)
        whole = []


def mentioned(page: Path) -> Iterator[list[str]]:
    """The words of each command of groundcrew on a page, in blocks and between backticks."""
    text = page.read_text()
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(
        r"(?:^    .*\n)+", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    lines = [line.strip().removeprefix("$ ") for block in [*blocks, *indented] for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in [*lines, *spans]:
        for part in re.split(r"\s(?:&&|\|)\s", re.sub(r"(^|\s)#\s.*", "", line)):
            words = _words(part)
            words = words[1:] if words[:1] == ["$"] else words
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words and Path(words[0]).name in OURS:
                yield [Path(words[0]).name, *words[1:]]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in prose
        return line.split()


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def headings(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one)) for one in re.findall(r"^#+ (.*)", text, re.MULTILINE)}


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(\s*([^)\s]+)\s*\)", text)


def plain(line: str) -> str:
    """A line without what differs in each run: times, durations, sizes, and names of sets, keys and resources."""
    for pattern, word in _EACH_TIME:
        line = re.sub(pattern, word, line)
    return re.sub(r"\s+", " ", line).strip()


_EACH_TIME = (
    (r"\b\d{8}T\d{6}Z-[0-9a-f]{4,6}\b", "SET"),
    (r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d\d? \d\d:\d\d\b", "MOMENT"),
    (r"\b\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?\b", "MOMENT"),
    (r"\b\d\d:\d\d(?= \(|, MOMENT)", "MOMENT"),  # a time of today has no date
    (r"\b(as it was at )\d\d:\d\d\b", r"\1MOMENT"),
    (r"\b\d[\d.,]* ?(B|kB|MB|GB|TB|KiB|MiB|GiB)\b", "SIZE"),
    (r"\b\d[\d.]* (s|ms|min|h|d)\b( \d+ (s|min|h)\b)?", "WHILE"),
    (r"\bembedded PostgreSQL\b", "PostgreSQL"),  # a machine with a server of its own uses that
    (r"\b(PostgreSQL|pg_dump) \d+(\.\d+)?\b", r"\1 VERSION"),
    (r"\bage1[a-z0-9]{58}\b", "KEY"),
    (r"\b(vpc|igw|rtb|subnet|sg|eipalloc|nat|ami|i)-[0-9a-f]{8,}\b", r"\1-ID"),
    (r"\b\d+\.\d+\.\d+\.\d+(:\d+)?\b", "ADDRESS"),
    (r"\b[\d,.]+ USD\b", "MONEY"),
    (r"\b\d+ %", "PERCENT"),
    (r"(?<= )\d+\.\d\d\b", "MONEY"),
    (r"\bof (Jan|Febr)uary|\bof (March|April|May|June|July|August)|\bof (Septem|Octo|Novem|Decem)ber", "of MONTH"),
    (r"/home/me\b|\$HOME\b", "HOME"),
)


def differs(shown: tuple[str, ...], seen: str) -> str | None:
    """How the output differs from the page, where … stands for any lines or the rest of a line; None if it does not."""
    pattern = ""
    for line in shown:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        elif line.strip():
            pattern += re.escape(plain(line)).replace("…", ".*") + "\n"
    printed = "".join(f"{plain(line)}\n" for line in seen.splitlines() if line.strip())
    if re.fullmatch(pattern, printed):
        return None
    return "the page says:\n" + "".join(f"  {plain(line)}\n" for line in shown) + f"the command prints:\n{printed}"
