"""The rows of a FOCUS export in Parquet, as text like the rows of a CSV file. It needs the extra `parquet`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from typing import IO, Any, cast

BATCH = 10_000
"""Rows that are in memory at a time."""


def can_read_parquet() -> bool:
    """Whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


class ParquetRows:
    """The rows of a file, the names of the columns first. `line_num` is the number of the last row, from 1."""

    def __init__(self, stream: IO[bytes], columns: Collection[str]) -> None:
        self.line_num = 0
        self._rows = self._read(stream, columns)

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        row = next(self._rows)
        self.line_num += 1
        return row

    @staticmethod
    def _read(stream: IO[bytes], columns: Collection[str]) -> Iterator[list[str]]:
        import pyarrow.parquet

        with tempfile.TemporaryFile() as file:  # the footer says where columns are, and a body of S3 cannot seek
            shutil.copyfileobj(stream, file)
            file.seek(0)
            try:
                parquet = pyarrow.parquet.ParquetFile(file)
                header = [name for name in parquet.schema_arrow.names if name in columns]
                yield header
                for batch in parquet.iter_batches(BATCH, columns=header):
                    yield from map(list, zip(*map(_texts, batch.columns), strict=True))
            except pyarrow.ArrowException as error:
                raise ValueError(str(error).partition("\n")[0]) from error


def _texts(column: Any) -> list[str]:
    """Return the values of a column as text. Arrow converts all but nested values, which is five times faster."""
    import pyarrow

    if pyarrow.types.is_map(column.type):
        keys, values, ends = (each.to_pylist() for each in (column.keys, column.items, column.offsets))
        return [_pairs_as_text(*map(tuple, (keys[a:b], values[a:b]))) for a, b in pairwise(ends)]
    if pyarrow.types.is_nested(column.type):
        return [nested_as_text(value) for value in column.to_pylist()]
    return cast("list[str]", column.cast(pyarrow.string()).fill_null("").to_pylist())


@lru_cache(4096)
def _pairs_as_text(keys: tuple[object, ...], values: tuple[object, ...]) -> str:
    return json.dumps(dict(zip(keys, values, strict=True)), default=str)


def nested_as_text(value: object) -> str:
    """Return a nested value as a CSV file has it: tags as a JSON object, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, list):  # a map is a list of pairs
        try:
            value = dict(value)
        except TypeError as error:
            raise ValueError(f"a list is not a map of tags: {str(value)[:40]}") from error
    return json.dumps(value, default=str) if isinstance(value, Mapping) else str(value)
