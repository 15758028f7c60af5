"""`crew apps`, with a directory store."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.unit.jobs.cli.conftest import Crew, Write

SHOP: dict[str, Any] = {
    "name": "shop",
    "namespace": "web",
    "version": "1.2.0",
    "source": ["https://charts.acme.example shop 1.2.0"],
    "values": "abc",
    "images": ["shop@sha256:1"],
}


def test_it_records_apps_and_shows_since_when_they_run(
    crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()

    def record(**changed: Any) -> dict[str, Any]:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps([{**SHOP, **changed}])))
        result = crew("apps", "try", "--record", "--json")
        assert result.code == 0, result
        [app] = result.json["apps"]
        return dict(app)

    assert "no app is recorded" in crew("apps", "try").out
    first = record()
    again = record(values="changed")
    assert again["since"] == first["since"] <= again["passed"]
    assert crew("apps", "try", "--json").json["apps"] == [again]
    table = crew("apps", "try").out.splitlines()
    assert table[1].split()[:3] == ["shop", "1.2.0", "web"]
    assert record(unproven=True)["unproven"] is True
    assert "unproven" in crew("apps", "try").out
    assert crew("apps", "try", "--forget", "shop").code == 0
    gone = crew("apps", "try", "--forget", "shop")
    assert (gone.code, "app shop is not recorded" in gone.err) == (1, True)


@pytest.mark.parametrize("text", ["", "{}", '[{"name": "shop"}]', json.dumps([{**SHOP, "name": "../x"}]), "[1]"])
def test_a_bad_list_is_refused(crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    write()
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    result = crew("apps", "try", "--record")
    assert result.code == 64, result
    assert "stdin is not a JSON list of apps" in result.err


def test_a_damaged_record_is_named(crew: Crew, write: Write) -> None:
    store = write().parents[1] / "store"
    (store / "try/apps").mkdir(parents=True)
    (store / "try/apps/shop.json%").write_text("{}")
    result = crew("apps", "try")
    assert result.code == 1
    assert "try/apps/shop.json: this is not a document of groundcrew" in result.err
