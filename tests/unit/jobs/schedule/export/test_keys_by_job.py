"""Exported runs read only the keys of their own job: a verification that was taken over cannot sign a backup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from inventories import Environment, Repository
from jobs.schedule.export import kubernetes, systemd
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.needs import credential_names, secrets_of
from jobs.schedule.slots import slots, timers
from tests.parts import runs

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FILE = """
[environment]
name = "NAME"
[store]
url = "s3://acme-backups"
encrypt_to = "nobody"
decrypt_with = AGE
sign_with = SIGNING
[verify]
sign_with = VERIFY
[databases.shop]
url = "postgresql://backup@shop.internal/shop"
password = { file = "/etc/groundcrew/NAME/shop.password" }
backup = "0 2 * * *"
verify = "0 5 * * 0"
retention = "30 6 * * *"
"""
REFRESH = """
[refresh.shop]
from = "production/shop"
into = "postgresql://owner@db.staging/shop"
sanitise = "sanitise.sql"
at = "0 4 * * 1"
"""
FILES = {"AGE": '{ file = "/etc/groundcrew/NAME/age.key" }', "SIGNING": '{ file = "/etc/groundcrew/NAME/signing.key" }'}
FILES["VERIFY"] = '{ file = "/etc/groundcrew/NAME/verify.key" }'
CREDENTIALS = {name: f'{{ env = "{name}_KEY" }}' for name in FILES}
READS = {
    "backup": {"signing.key", "shop.password"},
    "verify": {"verify.key", "age.key"},
    "retention": set[str](),
    "died@": set[str](),
    "check": {"signing.key", "verify.key", "age.key", "shop.password"},
}


def environments(folder: Path, keys: dict[str, str]) -> dict[str, Environment]:
    for name, more in (("production", ""), ("staging", REFRESH)):
        text = FILE + more
        for key, reference in keys.items():
            text = text.replace(key, reference)
        (folder / f"{name}.toml").write_text(text.replace("NAME", name))
    (folder / "sanitise.sql").write_text("select 1")
    return {name: Repository.find(folder).read(name) for name in ("production", "staging")}


def services(environment: Environment, others: dict[str, Environment]) -> dict[str, str]:
    made = systemd.files(environment, timers(environment.name, slots(environment)), Destination(), others, NOW)
    names = re.compile(rf"groundcrew-{environment.name}-(\w+@?)\.service")
    return {match[1]: file.text for file in made if (match := names.fullmatch(file.name))}


def test_a_unit_cannot_read_the_files_of_other_jobs_and_environments(tmp_path: Path) -> None:
    known = environments(tmp_path, FILES)
    names = ("age.key", "shop.password", "signing.key", "verify.key")
    for environment, other in (("production", "staging"), ("staging", "production")):
        for job, text in services(known[environment], known).items():
            reads = {f"/etc/groundcrew/{environment}/{name}" for name in READS.get(job, ())}
            if job == "refresh":
                reads = {"/etc/groundcrew/production/age.key"}
            every = {f"/etc/groundcrew/{name}/{file}" for name in (environment, other) for file in names}
            hidden = set(re.findall("^InaccessiblePaths=-(.*)$", text, re.MULTILINE))
            assert hidden == (set() if job == "check" else every - reads), f"{job} of {environment}"


def test_a_unit_gets_the_credentials_of_its_job_only(tmp_path: Path) -> None:
    known = environments(tmp_path, CREDENTIALS)
    got = {
        job: set(re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE))
        for job, text in services(known["staging"], known).items()
    }
    assert got == {
        "backup": {"SIGNING_KEY"},
        "verify": {"VERIFY_KEY", "AGE_KEY"},
        "refresh": {"AGE_KEY"},
        "retention": set(),
        "died@": set(),
        "check": {"SIGNING_KEY", "VERIFY_KEY", "AGE_KEY"},
    }


@pytest.mark.parametrize(("keys", "form"), [(FILES, "etc.groundcrew.production.{}.key"), (CREDENTIALS, "{}_KEY")])
def test_a_pod_gets_the_keys_of_its_job_only(tmp_path: Path, keys: dict[str, str], form: str) -> None:
    production = environments(tmp_path, keys)["production"]
    destination = Destination(image="registry.acme.example/groundcrew:1")
    (file,) = kubernetes.files(production, timers("production", slots(production)), destination, {}, NOW)
    jobs = {each["metadata"]["name"]: yaml.safe_dump(each) for each in yaml.safe_load_all(file.text)}
    words = ("age", "signing", "verify") if keys is FILES else tuple(FILES)
    age, signing, verify = (form.format(word) for word in words)
    for name, reads in (("backup", {signing}), ("verify", {age, verify}), ("retention", set[str]())):
        text = jobs[f"groundcrew-production-{name}"]
        assert {key for key in (age, signing, verify) if f"key: {key}\n" in text} == reads, name


def test_only_the_job_hosts_gets_its_ssh_key() -> None:
    hosts = '[hosts]\ncheck = "0 7 * * *"\ndeploys = ["host"]\nssh_key = { env = "HOSTS_KEY" }\n'
    staging = runs.environment(more=f'{hosts}[status]\nat = "0 * * * *"\n')
    named = {timer.job: credential_names(secrets_of(staging, timer, {})) for timer in timers("staging", slots(staging))}
    assert named == {"hosts": ("HOSTS_KEY",), "status": ()}
