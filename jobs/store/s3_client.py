"""Clients of S3, made again once their credentials have expired."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.config import Config
from botocore.handlers import add_expect_header
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

from jobs.store.s3_descriptions import DescriptionLoader, description_loader
from jobs.store.s3_errors import EXPIRED, Location

if TYPE_CHECKING:
    from botocore.awsrequest import AWSResponse
    from botocore.model import OperationModel
    from mypy_boto3_s3 import S3Client

KEPT_CONNECTIONS = 128
"""Connections that a client keeps for its next requests, of those that it had to open at once. More are closed.

With `parallel = 16`, 32 small databases are backed up side by side, each with up to four streams.
"""


_NEEDED = {
    "CreateMultipartUpload": "UploadId",
    "GetObject": "ETag",
    "ListObjectVersions": "IsTruncated",
    "ListObjectsV2": "IsTruncated",
    "PutObject": "ETag",
    "UploadPart": "ETag",
}
_NO_SUCCESS = 300


class RenewedClient:
    """A client for one kind of requests. After the store says that its credentials have expired, a new one is made.

    botocore renews the credentials of a role or a login itself. But it reads temporary credentials in a file only once.
    """

    def __init__(
        self, session: botocore.session.Session, location: Location, tries: int, *, connect: float, read: float
    ) -> None:
        self._location, self._tries, self._connect, self._read = location, tries, connect, read
        self._lock = threading.Lock()
        self._session: botocore.session.Session | None = session
        self._client: S3Client | None = None

    def get(self) -> S3Client:
        with self._lock:  # a client can be shared by threads, but not created in two threads at once
            if self._client is None:
                self._client = self._new_client(self._session or new_session(self._location))
            return self._client

    def _new_client(self, session: botocore.session.Session) -> S3Client:
        created = session.create_client(
            "s3",
            endpoint_url=self._location.endpoint or None,
            config=Config(
                connect_timeout=self._connect,
                read_timeout=self._read,
                tcp_keepalive=True,
                user_agent="groundcrew",  # botocore would compose a longer one twice for each request
                retries={"mode": "standard", "total_max_attempts": self._tries},
                max_pool_connections=KEPT_CONNECTIONS,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                # Every body has a CRC that the server checks, so a hash of the body in the signature adds nothing.
                s3={
                    "payload_signing_enabled": False,
                    "addressing_style": "path" if self._location.endpoint else "auto",
                },
            ),
        )
        client = cast("S3Client", created)
        # Else each part costs one more round trip, and a second on a server that does not answer it.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        client.meta.events.register("after-call.s3", self._forget_if_expired)
        client.meta.events.register("after-call.s3", _require_s3)
        return client

    def _forget_if_expired(self, parsed: Mapping[str, Any], **_: object) -> None:
        if parsed.get("Error", {}).get("Code") in EXPIRED:
            with self._lock:
                self._session = self._client = None


def _require_s3(parsed: Mapping[str, Any], model: OperationModel, http_response: AWSResponse, **_: object) -> None:
    """Raise if a successful answer lacks what each S3 server sends: another web server can answer everything with 200.

    botocore takes such an answer to a listing for an empty one, and a page without the place of the next one for the
    last page.
    """
    needed = _NEEDED.get(model.name)
    if needed is None or http_response.status_code >= _NO_SUCCESS:
        return
    goes_on = parsed.get("IsTruncated") and not parsed.keys() & {"NextContinuationToken", "NextKeyMarker"}
    if needed not in parsed or goes_on:
        raise ResponseParserError(f"{model.name}: the answer is not that of an S3 server")


def new_session(location: Location) -> botocore.session.Session:
    """Return a session that parses times four times faster than by default, for listings of many thousand keys.

    It is a session of botocore, because the import of boto3 takes 20 ms of processor time.
    """
    session = botocore.session.Session(profile=location.profile or None)
    if location.region:
        session.set_config_variable("region", location.region)
    session.register_component("data_loader", _data_loader())
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_parse_timestamp)
    return session


@cache
def _data_loader() -> DescriptionLoader:
    """Return one loader for all sessions. The descriptions of S3 take 10 MiB."""
    return description_loader(os.environ.get("AWS_DATA_PATH"))


def _parse_timestamp(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):  # in a header: Sun, 29 Nov 2026 02:00:00 GMT
        return parse_timestamp(value)
