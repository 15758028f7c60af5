"""The only state there is: S3 or a directory, behind one small interface."""

from jobs.store.address import StoreSettings, open_store
from jobs.store.interface import (
    Changed,
    Denied,
    Entry,
    Exists,
    Missing,
    NotConditional,
    NotDeleted,
    Object,
    OpenUpload,
    OutOfReach,
    Piece,
    Prefix,
    Store,
    Stored,
    StoreError,
    Upload,
)

__all__ = [
    "Changed",
    "Denied",
    "Entry",
    "Exists",
    "Missing",
    "NotConditional",
    "NotDeleted",
    "Object",
    "OpenUpload",
    "OutOfReach",
    "Piece",
    "Prefix",
    "Store",
    "StoreError",
    "StoreSettings",
    "Stored",
    "Upload",
    "open_store",
]
