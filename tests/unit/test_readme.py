"""Pages link only to what exists, and show only commands and options that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from jobs import cli
from tests.parts.made import TARGETS
from tests.parts.readme import PAGES, ROOT, Typed, differs, headings, links, mentioned, typed

EACH = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


@EACH
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not heading or heading in headings(target), link


@EACH
def test_indented_lines_are_code(page: Path) -> None:
    """Four spaces below an item of a list make a paragraph, in which the lines of a command run together."""
    text = page.read_text()
    blocks = [token.map for token in MarkdownIt().parse(text) if token.type in ("code_block", "fence") and token.map]
    code = {number for first, end in blocks for number in range(first, end)}
    lines = enumerate(text.splitlines())
    assert [line for number, line in lines if line.startswith("    ") and number not in code] == []


@cache
def options(*command: str) -> set[str]:
    """Return the options that `crew … --help` lists; none for a command that does not exist."""
    said = StringIO()
    with redirect_stdout(said):
        code = cli.run_command_line([*command, "--help"])
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", said.getvalue())) if code == 0 else set()


@cache
def commands(*before: str) -> set[str]:
    said = StringIO()
    with redirect_stdout(said):
        cli.run_command_line([*before, "--help"])
    _, _, listed = said.getvalue().partition("Commands")
    return set(re.findall(r"^[\s│]+([a-z]+)  ", listed, re.MULTILINE))


def unknown_to_crew(words: list[str]) -> list[str]:
    """Return the words of a command line that crew does not know."""
    names = [word for word in words if not word.startswith("-")]
    if not names:
        return [word for word in words if word.startswith("-") and word.partition("=")[0] not in options()]
    if names[0] not in commands():
        return [] if names[0] in ("thing", "…") or names[0].isupper() else names[:1]
    command = [names[0]]
    if several := commands(*command):
        if len(names) > 1 and names[1] not in several:
            return [] if re.fullmatch(r"[\w-]+(\|[\w-]+)+|…", names[1]) else names[1:2]
        command += names[1:2]
    own = words[: words.index("--")] if "--" in words else words  # the rest belongs to another program
    flags = [word.partition("=")[0] for word in own if re.match(r"--?[a-z]", word)]
    return [flag for flag in flags if flag not in options(*command)]


@EACH
def test_crew_knows_each_command_and_option(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    asked = [words[1:] for words in mentioned(page) if words[0] == "crew" and len(words) > 1]
    assert {" ".join(words): unknown for words in asked if (unknown := unknown_to_crew(words))} == {}


@EACH
def test_make_knows_each_target(page: Path) -> None:
    for words in [words[1:] for words in mentioned(page) if words[0] == "make"]:
        assert [word for word in words if "=" not in word and re.match(r"[a-z]", word) and word not in TARGETS] == []


@cache
def pyinfra_knows() -> str:
    argv = [Path(sys.executable).with_name("pyinfra"), "--help"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@EACH
def test_pyinfra_finds_each_deploy_and_knows_each_option(page: Path) -> None:
    for words in [words[1:] for words in mentioned(page) if words[0] == "pyinfra"]:
        for word in words:
            if word.startswith("-"):
                assert re.search(rf"(?<![\w-]){re.escape(word.partition('=')[0])}(?![\w-])", pyinfra_knows()), word
            elif word.startswith("deploys/") and "…" not in word:
                assert (ROOT / word).exists(), word


def test_the_pages_have_what_these_tests_look_for() -> None:
    said = [words for page in PAGES for words in mentioned(page)]
    for program, least in (("crew", 80), ("make", 25), ("pyinfra", 10)):
        assert sum(words[0] == program for words in said) >= least
    assert len(list(typed(ROOT / "README.md"))) > 30


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("backups restore try shop --into x --replace", []),
        ("backups restore try shop --onto x", ["--onto"]),
        ("backups mend try", ["mend"]),
        ("fly", ["fly"]),
        ("--help", []),
    ],
)
def test_what_crew_does_not_know_is_found(line: str, unknown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert unknown_to_crew(line.split()) == unknown


def test_a_page_is_read_as_a_person_reads_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\ncat > x <<'END'\n$ no\nEND\nls \\\n  x  # all\n```\n```console\n$ crew check try\nok\n…\n$ date\n```\n"
        "# A `heading`, with *things*\n[here](#a-heading-with-things) and `crew run backup x | tail`\n"
    )
    assert list(typed(page)) == [
        Typed(2, "cat > x <<'END'\n$ no\nEND", None),
        Typed(5, "ls \\\n  x  # all", None),
        Typed(9, "crew check try", ("ok", "…")),
        Typed(12, "date", ()),
    ]
    assert links(page) == ["#a-heading-with-things"]
    assert headings(page) == {"a-heading-with-things"}
    assert ["crew", "run", "backup", "x"] in list(mentioned(page))


@pytest.mark.parametrize(
    ("shown", "seen", "same"),
    [
        (
            ["done  shop  1 s  44.8 kB: set 20261126T112029Z-6ae6"],
            "done shop  2.5 s 1 GB: set 20251126T112029Z-0000\n",
            True,
        ),
        (["…", "5 to create"], "a\n\nb\n5 to create\n", True),
        (["5 to create"], "7 to create\n", False),
        (["5 to create"], "5 to create\nand a warning\n", False),
        (["in 3 parts: …"], "in 3 parts: more\n", True),
        ([], "something\n", False),
    ],
)
def test_only_times_sizes_and_names_may_differ(shown: list[str], seen: str, same: bool) -> None:
    assert (differs(tuple(shown), seen) is None) is same
