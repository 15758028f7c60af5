"""`crew init`: the two files of a new environment."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from inventories import BadEnvironment, Repository, value_types
from inventories.reading import NAME, NAME_RULE, InvalidValue, Position
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, WrongUsage, examples, new_app

app = new_app()

NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of a new environment."""

    name: str
    store: str
    timezone: str = "UTC"
    protected: bool = False
    databases: tuple[tuple[str, str], ...] = ()
    encrypt_to: tuple[str, ...] = ()
    key: Path | None = None
    alerts: tuple[str, ...] = ()


@app.command(
    "init",
    epilog=examples(
        "crew init staging",
        "crew init try --store file:///var/lib/groundcrew --encrypt-to nobody --yes",
        "crew init production --store s3://acme-backups/crew --new-key ~/production.key --protected \\",
        "      --database shop=postgresql://backup@db.internal/shop --timezone Europe/Berlin",
        "crew init --reference > reference.toml",
    ),
)
def init(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Its name: staging, production, …")] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Where state is kept: s3://bucket/prefix or file:///path.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Schedules are read in it; left out: UTC.")
    ] = None,
    protected: Annotated[
        bool | None, typer.Option("--protected/--open", help="Whether destroying by hand wants --yes-to NAME.")
    ] = None,
    database: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=URL", help="A PostgreSQL database to back up; may be repeated."),
    ] = None,
    encrypt_to: Annotated[
        list[str] | None,
        typer.Option(metavar="RECIPIENT", help="An age public key, or: nobody. May be repeated."),
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Make an age key pair: the secret one goes into this file.")
    ] = None,
    alert: Annotated[
        list[str] | None, typer.Option(metavar="VARIABLE", help="A variable that holds an alert address (Apprise).")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print every key there is, and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Write the two files of a new environment.

    inventories/NAME has its hosts, as pyinfra reads them; inventories/NAME.toml has everything else. On a terminal
    what the options leave open is asked for. Nothing that exists is overwritten.
    """
    if reference:
        return _print_reference(as_json=as_json)
    if name is None:
        raise WrongUsage("name the new environment: crew init staging")
    if not NAME.fullmatch(name):
        raise WrongUsage(f"{name} is no name; {NAME_RULE}")
    folder = _folder(ctx)
    refuse_existing(folder, name)
    given = Answers(
        name,
        store or "",
        timezone or "",
        bool(protected),
        tuple(map(_database, database or ())),
        tuple(encrypt_to or ()),
        new_key and _new_file(new_key),
        tuple(alert or ()),
    )
    asks = sys.stdin.isatty() and not yes and not as_json
    answers = _asked(given, protected) if asks else _complete(given)
    written = _write(folder, answers)
    _tell(answers, written, as_json=as_json)
    return 0


def _print_reference(*, as_json: bool) -> int:
    from inventories import reference

    if as_json:
        arguments.print_json({"reference": reference()})
    else:
        output.say(reference())
    return 0


def _folder(ctx: typer.Context) -> Path:
    """Where environment files are, or, with none yet, are to be."""
    try:
        return arguments.repository(ctx).folder
    except BadEnvironment:
        root = arguments.root(ctx) or Path(os.environ.get("CREW_ROOT") or Path.cwd())
        return root.expanduser().absolute() / "inventories"


def refuse_existing(folder: Path, name: str) -> None:
    """WrongUsage if one of the two files is there already."""
    for path in (folder / name, folder / f"{name}.toml"):
        if path.exists():
            raise WrongUsage(f"{path} exists, and nothing is overwritten: take another name, or edit it")


def _database(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    if not NAME.fullmatch(name) or "://" not in url:
        raise WrongUsage(f"--database {text}: say NAME=URL, as in shop=postgresql://backup@db.internal/shop")
    return name, url


def _complete(given: Answers) -> Answers:
    """The answers with what may be left out filled in; WrongUsage for what may not."""
    if not given.store:
        raise WrongUsage("say where state is kept: --store s3://bucket/prefix or file:///path")
    if not given.encrypt_to and not given.key:
        raise WrongUsage("say who can read it: --new-key FILE, --encrypt-to age1…, or --encrypt-to nobody")
    return replace(given, timezone=given.timezone or "UTC")


def _asked(given: Answers, protected: bool | None) -> Answers:
    """The answers, with what is missing asked for on the terminal."""
    store = given.store or _ask("Where is state kept (s3://bucket/prefix or file:///path)", value_types.STORE_URL.parse)
    zone = given.timezone or _ask("Its timezone", value_types.TIMEZONE.parse, default="UTC")
    guarded = protected if protected is not None else typer.confirm("Is it protected from destroying by hand")
    asked = replace(given, store=store, timezone=zone, protected=guarded)
    asked = asked if asked.encrypt_to or asked.key else _asked_for_key(asked)
    return asked if asked.databases else _asked_for_database(asked)


def _ask(question: str, read: Callable[[str], object], **more: Any) -> str:
    """An answer; one that can't be read is asked for again."""

    def checked(answer: str) -> str:
        try:
            read(answer)
        except (InvalidValue, WrongUsage) as why:
            raise typer.BadParameter(str(why)) from None
        return answer

    answer: str = typer.prompt(question, value_proc=checked, **more)
    return answer


def _asked_for_key(asked: Answers) -> Answers:
    question = "Who can read the backups: an age public key (age1…), nobody, or new"
    answer = _ask(question, _recipient, default="new")
    if answer != "new":
        return replace(asked, encrypt_to=(answer,))
    key = _ask("File for the new secret key", _new_file, default=f"~/groundcrew-{asked.name}.key")
    return replace(asked, key=_new_file(key))


def _recipient(answer: str) -> None:
    place = Position("", Path())
    if answer not in ("new", NOBODY):
        value_types.RECIPIENTS.read([answer], place)
    for _, why in place.faults:
        raise InvalidValue(why)


def _new_file(name: str | Path) -> Path:
    """Where a new secret key can be written; WrongUsage if it can't."""
    path = Path(name).expanduser().absolute()
    if path.exists():
        raise WrongUsage(f"{path} exists, and no key is ever overwritten: take another name")
    if not path.parent.is_dir():
        raise WrongUsage(f"{path}: there is no folder {path.parent}: make it, or take another one")
    return path


def _asked_for_database(asked: Answers) -> Answers:
    def read(answer: str) -> object:
        return answer and value_types.DATABASE_URL.parse(_database(answer)[1])

    answer = _ask("A database to back up, as NAME=URL (empty: none yet)", read, default="", show_default=False)
    return replace(asked, databases=(_database(answer),)) if answer else asked


def _write(folder: Path, answers: Answers) -> list[Path]:
    """Write key, hosts and file, once a copy elsewhere was read without a fault; nothing is left of a failure."""
    secret, public = new_key() if answers.key else ("", "")
    text = toml_of(answers, (*answers.encrypt_to, *([public] if public else [])))
    try_out(answers.name, text, folder)
    files = [(folder / f"{answers.name}.toml", text, 0o644), (folder / answers.name, hosts_of(answers.name), 0o644)]
    if answers.key:
        files.insert(0, (answers.key, secret, 0o600))
    with ExitStack() as unless_all_is_written:
        folder.mkdir(parents=True, exist_ok=True)
        for path, body, mode in files:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                unless_all_is_written.callback(path.unlink)
                file.write(body)
        unless_all_is_written.pop_all()
    return [path for path, _, _ in files]


def new_key() -> tuple[str, str]:
    """A new age key pair: the text of its file, as age-keygen writes it, and the public key."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    return f"# public key: {public}\n{identity}\n", public


def try_out(name: str, text: str, folder: Path) -> None:
    """Read the file from elsewhere; BadEnvironment with every fault it has."""
    with tempfile.TemporaryDirectory() as elsewhere:
        beside = Path(elsewhere) / "inventories"
        beside.mkdir()
        for path in folder.glob("*.toml"):
            (beside / path.name).write_bytes(path.read_bytes())
        (beside / f"{name}.toml").write_text(text)
        (beside / name).write_text(hosts_of(name))
        Repository(Path(elsewhere), beside).read(name)


def toml_of(answers: Answers, recipients: Sequence[str]) -> str:
    """The environment file."""
    return "\n".join([*_head(answers), *_store(answers, recipients), *_databases(answers), *_alerts(answers)])


def _head(answers: Answers) -> list[str]:
    return [
        f"# What is looked after in {answers.name}, besides hosts. Every key there is: crew init --reference",
        "",
        "[environment]",
        f"name = {_text(answers.name)}",
        f"protected = {str(answers.protected).lower()}",
        f"timezone = {_text(answers.timezone)}",
        "",
    ]


def _store(answers: Answers, recipients: Sequence[str]) -> list[str]:
    nobody = list(recipients) == [NOBODY]
    lines = [
        "[store]",
        f"url = {_text(answers.store)}",
        f"encrypt_to = {_text(NOBODY) if nobody else json.dumps(list(recipients))}",
    ]
    if answers.key:
        lines.append(
            f"decrypt_with = {{ file = {_text(str(answers.key))} }}   # only where restores and verifications run"
        )
    return [*lines, ""]


def _databases(answers: Answers) -> list[str]:
    lines = []
    for name, url in answers.databases:
        variable = f"{name.upper().replace('-', '_')}_DB_PASSWORD"
        lines += [
            f"[databases.{name}]",
            f"url = {_text(url)}",
            f"# password = {{ env = {_text(variable)} }}   # or file, or command; left out: ~/.pgpass, or none",
            'backup = "0 2 * * *"',
            'verify = "0 5 * * 0"',
            'retention = "30 6 * * *"',
            "keep = { daily = 7 }",
            "",
        ]
    return lines


def _alerts(answers: Answers) -> list[str]:
    if not answers.alerts:
        return []
    return ["[alerts]", f"to = [{', '.join(f'{{ env = {_text(name)} }}' for name in answers.alerts)}]", ""]


def _text(value: str) -> str:
    """A TOML string: what JSON calls one is one."""
    return json.dumps(value, ensure_ascii=False)


def hosts_of(name: str) -> str:
    """The hosts' file: none yet."""
    return (
        f"# The hosts of {name}, as pyinfra reads them: each list is a group.\n"
        f"# Look at them with: pyinfra inventories/{name} debug-inventory\n"
        '# servers = ["web-1.example.com", ("10.0.0.2", {"ssh_user": "admin"})]\n'
        "servers = []\n"
    )


def next_steps(answers: Answers) -> list[str]:
    """What to do now, in order."""
    steps = [f"crew check {answers.name}        reaches everything that the file names"]
    if answers.key:
        steps.insert(0, f"copy {answers.key} to a second safe place: without it no backup can ever be read")
    if answers.databases:
        steps.insert(0, f"look at the passwords in inventories/{answers.name}.toml: a literal one is refused")
    return steps


def _tell(answers: Answers, written: Sequence[Path], *, as_json: bool) -> None:
    """What was written, and what comes next."""
    if as_json:
        arguments.print_json(
            {"environment": answers.name, "written": [str(path) for path in written], "next": next_steps(answers)}
        )
        return
    for path in written:
        output.say(f"wrote {path}", output.GOOD)
    output.say("\nNext:")
    for at, step in enumerate(next_steps(answers), start=1):
        output.say(f"  {at}. {step}")
