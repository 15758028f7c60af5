"""Faults for keys that group data does not have."""

from __future__ import annotations

from deploys.lib.group_data import unknown_keys


def test_a_fault_names_the_unknown_keys_and_the_allowed_ones() -> None:
    assert list(unknown_keys("limits", {"cpu": 1}, ("tasks", "cpu"))) == []
    assert list(unknown_keys("limits", {"dsk": 1, "cpu": 1, "disk": 1}, ("tasks", "cpu"), "limit")) == [
        "limits: no such limit: disk, dsk; allowed: cpu, tasks"
    ]
