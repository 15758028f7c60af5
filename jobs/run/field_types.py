"""Check the types of a document from the store: somebody else can have written it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

YEARS = range(1970, 3000)
_LARGEST = 2**63


def require_types(value: object, annotation: Any, name: str = "document") -> None:
    """Raise ValueError if a value, or one inside it, does not have the annotated type or is out of range."""
    if not _has_type(value, annotation):
        raise ValueError(f"{name} is not valid")
    for item, inner, inner_name in _inside(value, annotation, name):
        require_types(item, inner, inner_name)


def _has_type(value: object, annotation: Any) -> bool:
    """Whether a value has a type and is in range, without what is inside it."""
    kinds = _kinds(annotation)
    if type(value) is str and str in kinds:  # most values are text
        return True
    if object in kinds:
        return True
    if isinstance(value, (bool, float, date, Decimal)):  # for Python, a bool is an int, and a datetime a date
        return type(value) in kinds and _in_range(value)
    return isinstance(value, (*kinds, int) if float in kinds else kinds) and _in_range(value)


@cache
def _kinds(annotation: Any) -> tuple[type, ...]:
    """Return the classes that an annotation allows. The answer is kept, because a page checks thousands of values."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for each in get_args(annotation) for kind in _kinds(each))
    return (object if annotation is Any else get_origin(annotation) or annotation,)


def _in_range(value: object) -> bool:
    """Whether a number is finite and not huge, and a time has a zone and can be calculated with."""
    if isinstance(value, int | float):
        return abs(value) < _LARGEST
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value) < _LARGEST
    if isinstance(value, datetime) and value.tzinfo is None:
        return False
    return not isinstance(value, date) or value.year in YEARS


def _inside(value: object, annotation: Any, name: str) -> Iterator[tuple[object, Any, str]]:
    """Yield the values inside a value, each with its annotation and its name."""
    if is_dataclass(value) and not isinstance(value, type):
        annotations = _annotations(type(value))
        yield from ((getattr(value, field), annotation, field) for field, annotation in annotations.items())
    elif isinstance(value, tuple | frozenset):
        [item_type, *_] = _arguments(annotation) or [Any]
        yield from ((item, item_type, name) for item in value)
    elif isinstance(value, Mapping):
        key_type, item_type = _arguments(annotation) or [Any, Any]
        yield from ((key, key_type, name) for key in value)
        yield from ((item, item_type, name) for item in value.values())


@cache
def _arguments(annotation: Any) -> list[Any]:
    """Return the types in brackets, also those of an optional type."""
    if get_origin(annotation) in (Union, UnionType):
        return next((_arguments(each) for each in get_args(annotation) if each is not NoneType), [])
    return list(get_args(annotation))


@cache
def _annotations(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
