"""GROUNDCREW__SECTION__KEY overrides a value of the file; a variable that matches no key is a fault."""

from __future__ import annotations

import pytest

from inventories import BadEnvironment, Environment
from tests.unit.inventories.conftest import Reading

FILE = """
[environment]
name = "staging"
[store]
url = "s3://acme-backups"
encrypt_to = "nobody"
[databases.my-shop]
url = "postgresql://db/shop"
keep = { daily = 7 }
[cost]
budget = 300
filter = { tag = { "acme.example/env" = "staging" } }
"""

OVERRIDDEN = [
    ("DATABASES__MY_SHOP__KEEP__DAILY", "30", lambda e: e.databases["my-shop"].keep.daily, 30),
    ("databases__my_shop__keep__weekly", '"all"', lambda e: e.databases["my-shop"].keep.weekly, -1),
    ("DATABASES__MY_SHOP__KEEP__YEARLY", "all", lambda e: e.databases["my-shop"].keep.yearly, -1),
    ("DATABASES__MY_SHOP__LIMITS", '{ run = "1h" }', lambda e: e.databases["my-shop"].limits.run.seconds, 3600),
    ("DATABASES__MY_SHOP__PASSWORD", '{ env = "X" }', lambda e: e.databases["my-shop"].password.env, "X"),
    ("DATABASES__MY_SHOP__URL", "postgresql:///shop", lambda e: e.databases["my-shop"].url, "postgresql:///shop"),
    ("STORE__ENDPOINT", "http://localhost:8333", lambda e: e.store.endpoint, "http://localhost:8333"),
    ("STORE__PROFILE", "123", lambda e: e.store.profile, "123"),
    ("STORE__PROFILE", '"quoted"', lambda e: e.store.profile, "quoted"),
    ("STORE__PROFILES__BACKUP", "writer", lambda e: e.store.profiles["backup"], "writer"),
    ("ENVIRONMENT__PROTECTED", "true", lambda e: e.protected, True),
    ("COST__BUDGET", "2500.5", lambda e: e.cost.budget, 2500.5),
    ("COST__THRESHOLDS", "[10, 20]", lambda e: e.cost.thresholds, (10, 20)),
    ("COST__FILTER__TAG__ACME_EXAMPLE_ENV", "qa", lambda e: e.cost.filter.tag["acme.example/env"], "qa"),
    ("STATUS__AT", "0 * * * *", lambda e: e.status.at, "0 * * * *"),
    (
        "ALERTS__HEARTBEAT__DRIFT",
        "https://hc.example/1",
        lambda e: e.alerts.heartbeat["drift"].reveal()[:8],
        "https://",
    ),
]


@pytest.mark.parametrize(("variable", "text", "of", "value"), OVERRIDDEN)
def test_a_variable_overrides_a_value(
    variable: str, text: str, of: object, value: object, read: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"GROUNDCREW__{variable}", text)
    environment: Environment = read(FILE)
    assert of(environment) == value  # type: ignore[operator]


REFUSED = [
    (
        "DATABASES__MY_SHOP__KEEP__DAILY",
        "-3",
        ": its value is not a count; use a whole number from 1, or remove the key",
    ),
    (
        "DATABASES__MY_SHOP__KEEP",
        "{ daily = -3 }",
        ": daily: its value is not a count; use a whole number from 1, or remove the key",
    ),
    (
        "DATABASES__MY_SHOP__PASSWORD",
        "hunter2",
        ': secrets must not be in this file; use { env = "NAME" }, { file = "path" }'
        ' or { command = ["program", "argument"] }',
    ),
    ("STORE__REGION", "EU Central", ': its value is not a region; use one such as "eu-central-1"'),
    ("STORE__REGIO", "x", ": REGIO does not exist; did you mean REGION?"),
    ("STOR__REGION", "x", ": STOR does not exist; did you mean STORE?"),
    ("DATABASES__MYSHOP__URL", "x", ": MYSHOP does not exist; did you mean MY_SHOP?"),
    ("SERVERS__OTHER__URL", "x", ": OTHER does not exist; the table is empty in this file"),
    ("STORE__URL__BUCKET", "x", ": BUCKET does not exist, because its parent is a single value; set the parent"),
    ("COST__THRESHOLDS", "[0]", ": 1: its value is not a percentage; use a whole number from 1 to 1000"),
    ("DATABASES__MY_SHOP__SHRINK", "0%", ': its value is not a share; use 1 to 99 with a %, such as "50%", or "off"'),
    ("VERIFY__SPACE", "2", ': its value is not a factor; use 1 or more with an x, such as "2x" or "1.5x"'),
]


@pytest.mark.parametrize(("variable", "text", "line"), REFUSED)
def test_a_fault_names_the_variable_and_not_its_value(
    variable: str, text: str, line: str, read: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"GROUNDCREW__{variable}", text)
    with pytest.raises(BadEnvironment) as caught:
        read(FILE)
    assert caught.value.lines == (f"GROUNDCREW__{variable}{line}",)


def test_a_variable_that_matches_two_names_is_a_fault(read: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDCREW__DATABASES__MY_SHOP__PARALLEL", "3")
    with pytest.raises(
        BadEnvironment, match=r"MY_SHOP matches several names \(my-shop, my_shop\); rename all but one of them"
    ):
        read(FILE + '[databases.my_shop]\nurl = "postgresql:///shop"')


def test_an_override_does_not_hide_a_fault_in_the_file(read: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDCREW__VERIFY__SPACE", "3x")
    with pytest.raises(BadEnvironment, match=r"staging.toml: verify: this is not a table"):
        read("verify = 3\n" + FILE)


def test_an_override_replaces_an_invalid_value(read: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDCREW__COST__BUDGET", "400")
    environment = read(FILE.replace("300", '"three hundred"'))
    assert environment.cost
    assert environment.cost.budget == 400


def test_a_variable_for_another_environment_is_no_fault(read: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDCREW__DATABASES__SHOP__PARALLEL", "3")
    assert read(FILE).databases["my-shop"].parallel == 2
    monkeypatch.setenv("GROUNDCREW__DATABASES__SHOP__PARRALLEL", "3")
    with pytest.raises(BadEnvironment, match=r"^GROUNDCREW__DATABASES__SHOP__PARRALLEL: SHOP does not exist"):
        read(FILE)
