"""The files of billing exports in a bucket or a folder, and which of them are current."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import IO, cast

from botocore.exceptions import BotoCoreError

from inventories import Cost, Environment
from jobs.cost import aws
from jobs.cost.bill import Busy, CostError, month_of
from jobs.cost.parquet import can_read_parquet

_PERIOD = re.compile(r"(?:^|/)(?:BILLING_PERIOD=(\d{4})-(\d\d)|(\d{4})(\d\d)\d\d-\d{8})(?=/)")


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file of an export. `version` changes when the provider writes the file again."""

    name: str
    version: str
    modified: datetime
    source: Callable[[], IO[bytes]]

    @property
    def is_parquet(self) -> bool:
        return self.name.endswith(".parquet")

    @contextmanager
    def open(self) -> Iterator[IO[str]]:
        """Open the file as text, decompressed; CostError if it is damaged."""
        with self.open_bytes() as raw:
            body = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if self.name.endswith(".gz") else raw
            yield io.TextIOWrapper(body, "utf-8-sig", newline="")

    @contextmanager
    def open_bytes(self) -> Iterator[IO[bytes]]:
        """Open the file as it is; CostError if reading shows that it is damaged."""
        with self.source() as raw:
            try:
                yield raw
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise CostError(f"{self.name} is damaged ({error}); let the provider write it again") from error
            except OSError as error:
                raise CostError(f"{self.name} cannot be read: {error.strerror or error}") from error
            except BotoCoreError as error:
                raise Busy(f"{self.name}: reading broke off ({type(error).__name__}); check the network") from error


def newest_deliveries(files: Iterable[ExportFile], first: date) -> list[ExportFile]:
    """Return the files to read: of each billing period since `first` only the newest delivery.

    A provider writes all charges of a billing period again several times a day, into the same files or into a new
    folder. A file outside of a folder for a billing period counts always.
    """
    chosen: list[ExportFile] = []
    deliveries: dict[str, dict[str, list[ExportFile]]] = {}
    for file in files:
        period = _PERIOD.search(file.name)
        if period is None:
            chosen.append(file)
        elif _month(period) >= month_of(first):
            within = file.name[period.end() :].rpartition("/")[0]
            deliveries.setdefault(file.name[: period.end()], {}).setdefault(within, []).append(file)
    for by_folder in deliveries.values():
        # Folders can be written in the same second. Then their names decide: most begin with a time.
        _, newest = max((max(file.modified for file in delivery), folder) for folder, delivery in by_folder.items())
        chosen += by_folder[newest]
    return sorted(chosen, key=lambda file: file.name)


def _month(period: re.Match[str]) -> date:
    year, month = (int(period[1] or period[3]), int(period[2] or period[4]))
    return date(max(year, 1), min(max(month, 1), 12), 1)


def export_files(environment: Environment, settings: Cost) -> Iterator[ExportFile]:
    """Yield the exports below cost.exports; CostError for a format that crew cannot read."""
    url = settings.exports
    found = _in_bucket(environment, settings) if url.startswith("s3://") else _in_folder(Path(url[len("file://") :]))
    for file in found:
        if file.name.endswith(".zip"):
            raise CostError(
                f"{file.name}: crew reads exports as .csv, .csv.gz and .parquet; choose one in the export's settings"
            )
        if file.is_parquet and not can_read_parquet():
            raise CostError(
                f"{file.name}: pyarrow is not installed; install the extra parquet "
                "(.venv/bin/pip install '.[parquet]'), or choose CSV in the export's settings"
            )
        if file.name.endswith((".csv", ".csv.gz", ".parquet")):
            yield file


def _in_folder(folder: Path) -> Iterator[ExportFile]:
    if not folder.is_dir():
        raise CostError(f"file://{folder}: there is no such directory; check cost.exports")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        version = f"{path} {status.st_size} {status.st_mtime_ns}"
        yield ExportFile(str(path), version, modified, partial(_opened, path))


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _in_bucket(environment: Environment, settings: Cost) -> Iterator[ExportFile]:
    bucket, _, prefix = settings.exports.removeprefix("s3://").partition("/")
    session, caller = aws.session_for(environment, settings)
    client = session.client("s3", config=aws.CONFIG)
    with aws.translated_errors(caller, "s3:ListBucket"):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/" if prefix else "")
        entries = [entry for page in pages for entry in page.get("Contents", ())]

    def opened(key: str) -> IO[bytes]:
        with aws.translated_errors(caller, "s3:GetObject"):
            return cast("IO[bytes]", client.get_object(Bucket=bucket, Key=key)["Body"])

    for entry in entries:
        key, name = entry["Key"], f"s3://{bucket}/{entry['Key']}"
        version = f"{name} {entry['Size']} {entry['ETag']}"
        yield ExportFile(name, version, entry["LastModified"], partial(opened, key))
