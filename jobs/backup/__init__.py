"""Backups of PostgreSQL databases: take, list, restore and verify sets.

Other packages import these names from here. Each name loads its module at first use, so that `crew --help` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.backup.concurrent import ByteCounter, Cancellation, run_concurrently
    from jobs.backup.errors import BackupError, Damaged, UnreadableSet
    from jobs.backup.key_files import KeyFile, NewKeys, key_paths, new_keys
    from jobs.backup.places import find_copy, in_its_place, open_copy, open_separate_copy, split_copy
    from jobs.backup.postgres.connection import Address, ConnectionTarget, Endpoint, reach, translated_errors
    from jobs.backup.postgres.copies import abandoned_copies
    from jobs.backup.postgres.counting import count_tables
    from jobs.backup.postgres.extensions import ONE_DATABASE
    from jobs.backup.postgres.privileges import NEEDED_PRIVILEGES, missing_privileges
    from jobs.backup.postgres.programs import ClientProgram, dump_program, installed_clients
    from jobs.backup.postgres.quoting import identifier
    from jobs.backup.restore.chosen_owner import ChosenOwner, owner_by_default
    from jobs.backup.restore.compare import Difference, difference_text
    from jobs.backup.restore.ordinary_role import OrdinaryRole, ordinary_role
    from jobs.backup.restore.protected import find_protection
    from jobs.backup.restore.restore import (
        Restored,
        RestoreMode,
        RestorePlan,
        choose_mode,
        plan_restore,
        restore_set,
        superuser_warnings,
    )
    from jobs.backup.restore.side_table import SideTable, restore_side_table
    from jobs.backup.restore.target import (
        RestoreTarget,
        inspect_target,
        maintenance_connection,
        unconnected_databases,
    )
    from jobs.backup.restore.temporary_role import reading_role
    from jobs.backup.sets.choose_set import choose_set, chosen_and_older, find_by_id, parse_time, warnings_on_choice
    from jobs.backup.sets.description import Description, encode_description
    from jobs.backup.sets.encryption import can_decrypt, decrypt, encrypt, new_key_pair
    from jobs.backup.sets.fetch import STDOUT, default_file, find_part, write_part
    from jobs.backup.sets.in_use import IN_USE, is_in_use, noted_as_in_use
    from jobs.backup.sets.manifest import (
        MANIFEST,
        Manifest,
        Part,
        PartPiece,
        decode_manifest,
        encode_manifest,
        iso_timestamp,
    )
    from jobs.backup.sets.marker import MARKER
    from jobs.backup.sets.object_locks import (
        LOCKS_AT_ONCE,
        LockSettings,
        lock_of_new_set,
        lock_set,
        lock_to_renew,
        lockable_names,
        unlocked_names,
        witness_key,
    )
    from jobs.backup.sets.recent import find_recent_sets
    from jobs.backup.sets.results import RESULTS, VerificationResult
    from jobs.backup.sets.sets import (
        PIN,
        SIGNATURE,
        NewestSets,
        Set,
        find_newest_sets,
        find_sets,
        is_dated_ahead,
        set_prefix,
        sets_from_listing,
    )
    from jobs.backup.sets.signatures import BadSignature, PublicKey, SigningKey, new_signing_key, parse_public_key
    from jobs.backup.sets.stored import (
        LimitedSink,
        StoredSet,
        open_first,
        open_set,
        read_piece,
        read_unhashed,
        require_original_place,
        require_pieces,
        wrong_hash,
    )
    from jobs.backup.sets.trust import result_signer, trust_of
    from jobs.backup.sets.undelete import bring_back_objects, lost_objects, piece_hashes
    from jobs.backup.sources import (
        by_server,
        databases_with_sets,
        has_trusted_set,
        is_known,
        is_known_anywhere,
        password_in_file,
        require_sets_of_servers,
        restore_streams,
        section_of,
        server_of,
        sets_of,
        subjects_named,
        subjects_of_copy,
    )
    from jobs.backup.take.source import identity_on_primary, read_standby, standby_fault
    from jobs.backup.verify.amcheck import AmcheckResult, pg_amcheck_for, run_amcheck
    from jobs.backup.verify.job import VERIFY, verify_job
    from jobs.backup.verify.scratch import (
        lacking_extensions,
        scratch_folder,
        temporary_endpoint,
        verification_fault,
    )
    from jobs.backup.verify.statements import script_differences
    from jobs.backup.verify.verify import Verification

_NAMES = {
    "concurrent": ("ByteCounter", "Cancellation", "run_concurrently"),
    "errors": ("BackupError", "Damaged", "UnreadableSet"),
    "key_files": ("KeyFile", "NewKeys", "key_paths", "new_keys"),
    "places": ("find_copy", "in_its_place", "open_copy", "open_separate_copy", "split_copy"),
    "postgres.connection": ("Address", "ConnectionTarget", "Endpoint", "reach", "translated_errors"),
    "postgres.copies": ("abandoned_copies",),
    "postgres.counting": ("count_tables",),
    "postgres.extensions": ("ONE_DATABASE",),
    "postgres.privileges": ("NEEDED_PRIVILEGES", "missing_privileges"),
    "postgres.programs": ("ClientProgram", "dump_program", "installed_clients"),
    "postgres.quoting": ("identifier",),
    "restore.chosen_owner": ("ChosenOwner", "owner_by_default"),
    "restore.compare": ("Difference", "difference_text"),
    "restore.ordinary_role": ("OrdinaryRole", "ordinary_role"),
    "restore.protected": ("find_protection",),
    "restore.restore": (
        "RestoreMode",
        "RestorePlan",
        "Restored",
        "choose_mode",
        "plan_restore",
        "restore_set",
        "superuser_warnings",
    ),
    "restore.side_table": ("SideTable", "restore_side_table"),
    "restore.target": ("RestoreTarget", "inspect_target", "maintenance_connection", "unconnected_databases"),
    "restore.temporary_role": ("reading_role",),
    "sets.choose_set": ("choose_set", "chosen_and_older", "find_by_id", "parse_time", "warnings_on_choice"),
    "sets.description": ("Description", "encode_description"),
    "sets.encryption": ("can_decrypt", "decrypt", "encrypt", "new_key_pair"),
    "sets.fetch": ("STDOUT", "default_file", "find_part", "write_part"),
    "sets.in_use": ("IN_USE", "is_in_use", "noted_as_in_use"),
    "sets.marker": ("MARKER",),
    "sets.manifest": (
        "MANIFEST",
        "Manifest",
        "Part",
        "PartPiece",
        "decode_manifest",
        "encode_manifest",
        "iso_timestamp",
    ),
    "sets.object_locks": (
        "LOCKS_AT_ONCE",
        "LockSettings",
        "lock_of_new_set",
        "lock_set",
        "lock_to_renew",
        "lockable_names",
        "unlocked_names",
        "witness_key",
    ),
    "sets.recent": ("find_recent_sets",),
    "sets.results": ("RESULTS", "VerificationResult"),
    "sets.sets": (
        "PIN",
        "SIGNATURE",
        "NewestSets",
        "Set",
        "find_newest_sets",
        "find_sets",
        "is_dated_ahead",
        "set_prefix",
        "sets_from_listing",
    ),
    "sets.signatures": ("BadSignature", "PublicKey", "SigningKey", "new_signing_key", "parse_public_key"),
    "sets.stored": (
        "LimitedSink",
        "StoredSet",
        "open_first",
        "open_set",
        "read_piece",
        "read_unhashed",
        "require_original_place",
        "require_pieces",
        "wrong_hash",
    ),
    "sets.trust": ("result_signer", "trust_of"),
    "sets.undelete": ("bring_back_objects", "lost_objects", "piece_hashes"),
    "sources": (
        "by_server",
        "databases_with_sets",
        "has_trusted_set",
        "is_known",
        "is_known_anywhere",
        "password_in_file",
        "require_sets_of_servers",
        "restore_streams",
        "section_of",
        "server_of",
        "sets_of",
        "subjects_named",
        "subjects_of_copy",
    ),
    "take.source": ("identity_on_primary", "read_standby", "standby_fault"),
    "verify.amcheck": ("AmcheckResult", "pg_amcheck_for", "run_amcheck"),
    "verify.scratch": ("lacking_extensions", "scratch_folder", "temporary_endpoint", "verification_fault"),
    "verify.statements": ("script_differences",),
    "verify.job": ("VERIFY", "verify_job"),
    "verify.verify": ("Verification",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "IN_USE",
    "LOCKS_AT_ONCE",
    "MANIFEST",
    "MARKER",
    "NEEDED_PRIVILEGES",
    "ONE_DATABASE",
    "PIN",
    "RESULTS",
    "SIGNATURE",
    "STDOUT",
    "VERIFY",
    "Address",
    "AmcheckResult",
    "BackupError",
    "BadSignature",
    "ByteCounter",
    "Cancellation",
    "ChosenOwner",
    "ClientProgram",
    "ConnectionTarget",
    "Damaged",
    "Description",
    "Difference",
    "Endpoint",
    "KeyFile",
    "LimitedSink",
    "LockSettings",
    "Manifest",
    "NewKeys",
    "NewestSets",
    "OrdinaryRole",
    "Part",
    "PartPiece",
    "PublicKey",
    "RestoreMode",
    "RestorePlan",
    "RestoreTarget",
    "Restored",
    "Set",
    "SideTable",
    "SigningKey",
    "StoredSet",
    "UnreadableSet",
    "Verification",
    "VerificationResult",
    "abandoned_copies",
    "bring_back_objects",
    "by_server",
    "can_decrypt",
    "choose_mode",
    "choose_set",
    "chosen_and_older",
    "count_tables",
    "databases_with_sets",
    "decode_manifest",
    "decrypt",
    "default_file",
    "difference_text",
    "dump_program",
    "encode_description",
    "encode_manifest",
    "encrypt",
    "find_by_id",
    "find_copy",
    "find_newest_sets",
    "find_part",
    "find_protection",
    "find_recent_sets",
    "find_sets",
    "has_trusted_set",
    "identifier",
    "identity_on_primary",
    "in_its_place",
    "inspect_target",
    "installed_clients",
    "is_dated_ahead",
    "is_in_use",
    "is_known",
    "is_known_anywhere",
    "iso_timestamp",
    "key_paths",
    "lacking_extensions",
    "lock_of_new_set",
    "lock_set",
    "lock_to_renew",
    "lockable_names",
    "lost_objects",
    "maintenance_connection",
    "missing_privileges",
    "new_key_pair",
    "new_keys",
    "new_signing_key",
    "noted_as_in_use",
    "open_copy",
    "open_first",
    "open_separate_copy",
    "open_set",
    "ordinary_role",
    "owner_by_default",
    "parse_public_key",
    "parse_time",
    "password_in_file",
    "pg_amcheck_for",
    "piece_hashes",
    "plan_restore",
    "reach",
    "read_piece",
    "read_standby",
    "read_unhashed",
    "reading_role",
    "require_original_place",
    "require_pieces",
    "require_sets_of_servers",
    "restore_set",
    "restore_side_table",
    "restore_streams",
    "result_signer",
    "run_amcheck",
    "run_concurrently",
    "scratch_folder",
    "script_differences",
    "section_of",
    "server_of",
    "set_prefix",
    "sets_from_listing",
    "sets_of",
    "split_copy",
    "standby_fault",
    "subjects_named",
    "subjects_of_copy",
    "superuser_warnings",
    "temporary_endpoint",
    "translated_errors",
    "trust_of",
    "unconnected_databases",
    "unlocked_names",
    "verification_fault",
    "verify_job",
    "warnings_on_choice",
    "witness_key",
    "write_part",
    "wrong_hash",
]

if not TYPE_CHECKING:  # else a type checker accepts every name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__} has no attribute {name}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
