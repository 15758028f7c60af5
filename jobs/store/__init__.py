"""The store: S3 or a directory, behind one small interface. It holds all state of groundcrew."""

from jobs.store.factory import StoreOptions, open_store, why_no_directory
from jobs.store.interface import (
    Changed,
    Denied,
    Exists,
    ListedKey,
    ListedPrefix,
    Missing,
    NotConditional,
    NotDeleted,
    OpenUpload,
    OutOfReach,
    Store,
    StoredObject,
    StoredPiece,
    StoredStream,
    StoreError,
    Upload,
)

__all__ = [
    "Changed",
    "Denied",
    "Exists",
    "ListedKey",
    "ListedPrefix",
    "Missing",
    "NotConditional",
    "NotDeleted",
    "OpenUpload",
    "OutOfReach",
    "Store",
    "StoreError",
    "StoreOptions",
    "StoredObject",
    "StoredPiece",
    "StoredStream",
    "Upload",
    "open_store",
    "why_no_directory",
]
