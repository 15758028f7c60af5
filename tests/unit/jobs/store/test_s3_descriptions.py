"""Descriptions of services are read faster than botocore reads them, and say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import create_loader

from jobs.store.s3_descriptions import description_loader


@pytest.mark.parametrize("service", ["s3", "sts", "sso"])
@pytest.mark.parametrize("description", ["service-2", "endpoint-rule-set-1", "paginators-1"])
def test_a_description_is_that_of_botocore(service: str, description: str) -> None:
    assert description_loader(None).load_service_model(service, description) == create_loader().load_service_model(
        service, description
    )


def test_a_file_for_all_services_is_read_into_dicts() -> None:
    endpoints = description_loader(None).load_data("endpoints")
    assert endpoints == create_loader().load_data("endpoints")
    assert type(endpoints) is dict


def test_an_unknown_service_or_description_is_an_error() -> None:
    loader = description_loader(None)
    with pytest.raises(UnknownServiceError):
        loader.load_service_model("s33", "service-2")
    with pytest.raises(DataNotFoundError):
        loader.load_service_model("s3", "service-3")


def test_the_directories_of_the_variable_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own/2026-11-30").mkdir(parents=True)
    (tmp_path / "own/2026-11-30/service-2.json").write_text(json.dumps({"metadata": {}}))
    (tmp_path / "partitions.json").write_text("[]")
    monkeypatch.setenv("MODELS", str(tmp_path))
    loader = description_loader("$MODELS")
    assert loader.load_service_model("own", "service-2") == {"metadata": {}}
    assert loader.load_data("partitions") == []
    assert loader.load_service_model("s3", "service-2")["metadata"]["serviceId"] == "S3"


def test_a_directory_that_cannot_be_entered_does_not_count(tmp_path: Path) -> None:
    inside = tmp_path / ("x" * 300) / "models"  # as with $HOME of another user, asking for it is an OSError
    with pytest.raises(OSError, match="too long"):
        inside.is_dir()
    loader = description_loader(str(inside))
    assert str(inside) not in loader.search_paths
    assert "s3" in loader.list_available_services("service-2")
