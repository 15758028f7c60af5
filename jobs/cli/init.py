"""`crew init`: create the files of a new environment."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import BadEnvironment, Repository, value_types
from inventories.reading import NAME, NAME_RULE, InvalidValue, Position
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, WrongUsage, examples, new_app

if TYPE_CHECKING:
    from jobs.backup import NewKeys

app = new_app()

NOBODY = value_types.NOBODY


@dataclass(frozen=True, slots=True)
class Answers:
    """The settings of a new environment, from options and prompts."""

    name: str
    store: str
    timezone: str = "UTC"
    protected: bool = False
    databases: tuple[tuple[str, str], ...] = ()
    encrypt_to: tuple[str, ...] = ()
    key: Path | None = None
    alerts: tuple[str, ...] = ()
    heartbeats: tuple[tuple[str, str], ...] = ()


NewName = Annotated[
    str | None, typer.Argument(metavar="ENV", help="Name of the new environment: staging, production, …")
]
NewStore = Annotated[str | None, typer.Option(metavar="URL", help="Store: s3://bucket/prefix or file:///path.")]
NewTimezone = Annotated[str | None, typer.Option(metavar="ZONE", help="Timezone of schedules (default: UTC).")]
NewProtected = Annotated[
    bool | None,
    typer.Option(
        "--protected/--open",
        help="Whether commands that destroy or overwrite data need confirmation (default: --open).",
    ),
]
NewDatabases = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=URL", help="PostgreSQL database to back up; can be repeated."),
]
NewRecipients = Annotated[
    list[str] | None,
    typer.Option(metavar="RECIPIENT", help='Encrypt backups to this age public key, or "nobody"; can be repeated.'),
]
NewKeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Create an age key pair and write its secret key to FILE; also create two signing keys beside it.",
    ),
]
NewAlerts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VARIABLE", help="Environment variable that holds an alert address (Apprise URL); can be repeated."
    ),
]

NewHeartbeats = Annotated[
    list[str] | None,
    typer.Option(
        metavar="JOB=VARIABLE",
        help="Environment variable that holds the ping URL of a job's heartbeat monitor; can be repeated.",
    ),
]


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
def init_command(
    ctx: typer.Context,
    name: NewName = None,
    store: NewStore = None,
    timezone: NewTimezone = None,
    protected: NewProtected = None,
    database: NewDatabases = None,
    encrypt_to: NewRecipients = None,
    new_key: NewKeyFile = None,
    alert: NewAlerts = None,
    heartbeat: NewHeartbeats = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for missing options.")] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print every key of an environment file and exit.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Create the files of a new environment.

    inventories/ENV lists the hosts, in pyinfra's format. inventories/ENV.toml holds all other settings. On a terminal,
    the command asks for missing options. It never overwrites a file.
    """
    if reference:
        return _print_reference(as_json=as_json)
    interactive = sys.stdin.isatty() and not yes and not as_json
    if name is None and interactive:
        name = _prompt_until_valid("Name of the new environment (staging, production, …)", _check_name)
    if name is None:
        raise WrongUsage("the name of the new environment is missing; for example: crew init staging")
    if not NAME.fullmatch(name):
        raise WrongUsage(f"{name} is not a valid name; {NAME_RULE}")
    folder = _inventories_folder(ctx)
    refuse_existing(folder, name)
    answers = Answers(
        name,
        store or "",
        timezone or "",
        bool(protected),
        tuple(map(_parse_database, database or ())),
        tuple(encrypt_to or ()),
        new_key and _new_key_path(new_key),
        tuple(alert or ()),
        tuple(map(_parse_heartbeat, heartbeat or ())),
    )
    answers = _prompt_for_missing(answers, protected) if interactive else _with_defaults(answers)
    keys = _new_keys(answers)
    _write_files(folder, answers, keys)
    _print_written(answers, folder, keys, make_directory_store(answers), as_json=as_json)
    return 0


def _print_reference(*, as_json: bool) -> int:
    from inventories import reference

    if as_json:
        output.print_json({"reference": reference()})
    else:
        output.say_lines(reference())
    return 0


def _inventories_folder(ctx: typer.Context) -> Path:
    """Return the directory of environment files; without any yet, the one to create."""
    try:
        return arguments.find_repository(ctx).folder
    except BadEnvironment:
        root = arguments.root_option(ctx) or Path(os.environ.get("CREW_ROOT") or Path.cwd())
        return root.expanduser().absolute() / "inventories"


def refuse_existing(folder: Path, name: str) -> None:
    """Raise WrongUsage if one of the two files exists."""
    for path in (folder / name, folder / f"{name}.toml"):
        if path.exists():
            raise WrongUsage(f"{path} already exists and is not overwritten; choose another name, or edit the file")


def _parse_database(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    if not NAME.fullmatch(name) or "://" not in url:
        raise WrongUsage(f"--database {text}: expected NAME=URL, for example shop=postgresql://backup@db.internal/shop")
    return name, url


def _parse_heartbeat(text: str) -> tuple[str, str]:
    job, _, variable = text.partition("=")
    if job not in value_types.JOBS or not variable:
        jobs = ", ".join(value_types.JOBS)
        raise WrongUsage(
            f"--heartbeat {text}: expected JOB=VARIABLE, for example backup=HEARTBEAT_BACKUP_URL; jobs: {jobs}"
        )
    return job, variable


def _with_defaults(answers: Answers) -> Answers:
    """Return the answers with defaults filled in; WrongUsage if a required one is missing."""
    if not answers.store:
        raise WrongUsage("the store is missing; add --store s3://bucket/prefix or --store file:///path")
    if not answers.encrypt_to and not answers.key:
        raise WrongUsage(
            "the encryption key is missing; add --new-key FILE, --encrypt-to age1…, or --encrypt-to nobody"
        )
    return replace(answers, timezone=answers.timezone or "UTC")


def _prompt_for_missing(answers: Answers, protected: bool | None) -> Answers:
    """Return the answers, with the missing ones asked for on the terminal."""
    store = answers.store or _prompt_until_valid(
        "Store (s3://bucket/prefix or file:///path)", value_types.STORE_URL.parse
    )
    zone = answers.timezone or _prompt_until_valid("Timezone of schedules", value_types.TIMEZONE.parse, default="UTC")
    is_protected = (
        protected if protected is not None else typer.confirm("Ask before commands destroy or overwrite data")
    )
    answers = replace(answers, store=store, timezone=zone, protected=is_protected)
    answers = answers if answers.encrypt_to or answers.key else _prompt_for_key(answers)
    return answers if answers.databases else _prompt_for_database(answers)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise WrongUsage(f"{name} is not a valid name; {NAME_RULE}")


def _prompt_until_valid(question: str, parse: Callable[[str], object], **options: Any) -> str:
    """Return the first answer that `parse` accepts."""

    def checked(answer: str) -> str:
        try:
            parse(answer)
        except (InvalidValue, WrongUsage) as why:
            raise typer.BadParameter(str(why)) from None
        return answer

    answer: str = typer.prompt(question, value_proc=checked, **options)
    return answer


def _prompt_for_key(answers: Answers) -> Answers:
    question = "Encrypt backups to: an age public key (age1…), new (create a key pair), or nobody"
    recipient = _prompt_until_valid(question, _check_recipient, default="new")
    if recipient != "new":
        return replace(answers, encrypt_to=(recipient,))
    question = "File for the new secret key; the keys that sign are written beside it"
    path = _prompt_until_valid(question, _new_key_path, default=f"~/groundcrew-{answers.name}.key")
    return replace(answers, key=_new_key_path(path))


def _check_recipient(recipient: str) -> None:
    position = Position("", Path())
    if recipient not in ("new", NOBODY):
        value_types.RECIPIENTS.read([recipient], position)
    for _, why in position.faults:
        raise InvalidValue(why)


def _new_key_path(name: str | Path) -> Path:
    """Return the path for a new secret key; WrongUsage if a key cannot be written there or beside it."""
    from jobs.backup import key_paths

    path = Path(name).expanduser().absolute()
    for each in key_paths(path):
        if each.exists():
            raise WrongUsage(f"{each} already exists, and a key is never overwritten; choose another name")
    if not path.parent.is_dir():
        raise WrongUsage(f"{path}: directory {path.parent} does not exist; create it, or choose another one")
    return path


def _prompt_for_database(answers: Answers) -> Answers:
    def parse(text: str) -> object:
        return text and value_types.DATABASE_URL.parse(_parse_database(text)[1])

    question = "Database to back up, as NAME=URL (empty: none yet)"
    text = _prompt_until_valid(question, parse, default="", show_default=False)
    return replace(answers, databases=(_parse_database(text),)) if text else answers


def _new_keys(answers: Answers) -> NewKeys | None:
    from jobs.backup import new_keys

    return new_keys(answers.key, answers.name) if answers.key else None


def _write_files(folder: Path, answers: Answers, keys: NewKeys | None) -> None:
    """Validate the files in a copy, then write keys, settings and hosts; leave none of them after a failure."""
    text = environment_toml(answers, keys)
    validate(answers.name, text, folder)
    files = [(key.path, key.text, 0o600) for key in keys.files] if keys else []
    files += [(folder / f"{answers.name}.toml", text, 0o644), (folder / answers.name, hosts_file(answers.name), 0o644)]
    with ExitStack() as undo:
        with output.writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for path, body, mode in files:
            with output.writing_to(path):
                number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                undo.callback(path.unlink)
                with os.fdopen(number, "w") as file:
                    file.write(body)
        undo.pop_all()


def validate(name: str, text: str, folder: Path) -> None:
    """Read the new file in a copy of the directory; BadEnvironment lists every fault."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "inventories"
        copy.mkdir()
        for path in folder.glob("*.toml"):
            (copy / path.name).write_bytes(path.read_bytes())
        (copy / f"{name}.toml").write_text(text)
        (copy / name).write_text(hosts_file(name))
        Repository(Path(temporary), copy).read(name)


def environment_toml(answers: Answers, keys: NewKeys | None) -> str:
    """Return the text of the environment file."""
    return "\n".join([*_head(answers), *_store(answers, keys), *_databases(answers), *_alerts(answers)])


def _head(answers: Answers) -> list[str]:
    return [
        f"# Settings of {answers.name}. Hosts are in inventories/{answers.name}. All keys: crew init --reference",
        "",
        "[environment]",
        f"name = {_toml_string(answers.name)}",
        f"protected = {str(answers.protected).lower()}",
        f"timezone = {_toml_string(answers.timezone)}",
        "",
    ]


def _store(answers: Answers, keys: NewKeys | None) -> list[str]:
    lines = ["[store]", f"url = {_toml_string(answers.store)}"]
    if keys:
        return [*lines, *keys.settings(answers.encrypt_to), ""]
    nobody = list(answers.encrypt_to) == [NOBODY]
    encrypt_to = _toml_string(NOBODY) if nobody else json.dumps(list(answers.encrypt_to))
    how = 'to sign backups: { file = "…" }, a key that ssh-keygen -t ed25519 made'
    return [*lines, f"encrypt_to = {encrypt_to}", f"sign_with = {_toml_string(NOBODY)}   # {how}", ""]


def _databases(answers: Answers) -> list[str]:
    lines = []
    for name, url in answers.databases:
        variable = f"{name.upper().replace('-', '_')}_DB_PASSWORD"
        lines += [
            f"[databases.{name}]",
            f"url = {_toml_string(url)}",
            f"# password = {{ env = {_toml_string(variable)} }}   # or file, or command (default: ~/.pgpass, or none)",
            'backup = "0 2 * * *"',
            *(['verify = "0 5 * * 0"'] if can_verify(answers) else []),
            'retention = "30 6 * * *"',
            "keep = { daily = 7 }",
            "",
        ]
    return lines


def _alerts(answers: Answers) -> list[str]:
    lines = []
    if answers.alerts:
        to = ", ".join(f"{{ env = {_toml_string(name)} }}" for name in answers.alerts)
        lines += ["[alerts]", f"to = [{to}]", ""]
    if answers.heartbeats:
        pings = (f"{job} = {{ env = {_toml_string(variable)} }}" for job, variable in answers.heartbeats)
        lines += ["[alerts.heartbeat]", *pings, ""]
    return lines


def _toml_string(value: str) -> str:
    """Return a TOML string; every JSON string is one."""
    return json.dumps(value, ensure_ascii=False)


def hosts_file(name: str) -> str:
    """Return the text of the hosts file, with an empty group."""
    return (
        f"# Hosts of {name}, in pyinfra's inventory format: each list is a group.\n"
        f"# Show them with: pyinfra inventories/{name} debug-inventory\n"
        '# servers = ["web-1.example.com", ("10.0.0.2", {"ssh_user": "admin"})]\n'
        "servers = []\n"
    )


def make_directory_store(answers: Answers) -> str:
    """Make the store if it is a directory; return why it was not made, "" if it was."""
    from jobs.store import StoreError, make_store, store_directory
    from jobs.store.directory import DirectoryStore

    directory = store_directory(answers.store)
    if directory is None:
        return "it is in a bucket"
    try:
        make_store(DirectoryStore(answers.store, directory), answers.name)
    except StoreError as error:
        return str(error)
    return ""


def can_verify(answers: Answers) -> bool:
    """Whether a key to decrypt the backups is known, or none is needed."""
    return answers.key is not None or answers.encrypt_to == (NOBODY,)


def decisions(answers: Answers) -> list[str]:
    """Return what the file says that nobody was asked for."""
    if not answers.databases:
        return ["No database yet, so nothing is backed up: add [databases.NAME] or [servers.NAME] to the file."]
    verification = (
        "Each Sunday at 05:00 the newest set is verified."
        if can_verify(answers)
        else "No verification is scheduled: no key here decrypts the backups (decrypt_with)."
    )
    alerts = [] if answers.alerts else ["No alerts are sent: add [alerts] to the file."]
    return [
        f"Backups run each day at 02:00 ({answers.timezone}), and the newest set of each of 7 days is kept.",
        verification,
        *alerts,
    ]


def next_steps(answers: Answers, keys: NewKeys | None, not_made: str) -> list[str]:
    """Return what to do next, in order; `not_made` says why the store is not made yet."""
    steps = []
    if answers.databases:
        steps.append(f"set the passwords in inventories/{answers.name}.toml; it accepts references, not literals")
    if keys:
        steps.append(f"copy {keys.decryption.path} to a second safe place: without it no backup can ever be restored")
        steps.append("keep the store's address and credentials there, too; docs/restore.md lists what a restore needs")
        steps.append("if several machines run the jobs, give each machine only the keys that it needs")
    else:
        steps.append("sign backups, so that nobody who can write the store can plant one: docs/backups.md says how")
    if not_made:
        return [
            *steps,
            f"crew check {answers.name} --create        makes the store and tests access to everything in the file",
        ]
    return [*steps, f"crew check {answers.name}        tests access to everything in the file"]


def _print_written(answers: Answers, folder: Path, keys: NewKeys | None, not_made: str, *, as_json: bool) -> None:
    """Print the written files and the next steps."""
    files = keys.files if keys else ()
    settings = [folder / f"{answers.name}.toml", folder / answers.name]
    steps = next_steps(answers, keys, not_made)
    if as_json:
        written = [str(path) for path in (*(key.path for key in files), *settings)]
        public = {str(key.path): key.public for key in files}
        output.print_json(
            {
                "environment": answers.name,
                "written": written,
                "public_keys": public,
                "made_store": not not_made,
                "decisions": decisions(answers),
                "next": steps,
            }
        )
        return
    for key in files:
        output.say(f"wrote {key.path}: {key.purpose}; needed only {key.place}", output.GOOD)
    for path in settings:
        output.say(f"wrote {path}", output.GOOD)
    if not not_made:
        output.say(f"made the store {answers.store}", output.GOOD)
    output.say("")
    for sentence in decisions(answers):
        output.say(sentence)
    output.say("")
    output.say("Next:")
    for number, step in enumerate(steps, start=1):
        output.say(f"  {number}. {step}")
