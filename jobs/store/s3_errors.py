"""Translates errors of S3 and of the network into errors of the store that say what to do, without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from jobs.network import is_unknown_host
from jobs.store.interface import Denied, Expired, Missing, OutOfReach, StoreError

BROKEN = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    HTTPError,
    OSError,
)
"""Errors of a connection that was refused, broken or stalled."""

DAMAGED = {"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
"""Error codes of S3 for a body that does not match its checksum."""

CONFLICT = {"ConditionalRequestConflict"}
"""Error codes of S3 for two conditional writes at the same time, of which neither was done."""

LOCKED_WRITE = "s3:PutObject with s3:PutObjectRetention"
"""The action of a write with object lock."""

REFUSED = {"AccessDenied", "InvalidRequest", "ObjectLocked", "403"}
"""Error codes of S3 servers for a locked object."""

NO_LOCK = {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"}
"""Error codes of S3 for an object without a lock, or a bucket without object lock."""

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
"""Error codes of S3 for temporary credentials after their time."""

_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.RefreshWithMFAUnsupportedError)
_NOT_RENEWED = (
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    boto.SSOError,
)
_BY_CLASS: tuple[tuple[tuple[type[Exception], ...], type[StoreError], str], ...] = (
    (
        (boto.ProfileNotFound,),
        Denied,
        "{url}: AWS profile {profile} does not exist; add it to ~/.aws/config, or set store.profile to another profile",
    ),
    (_NO_CREDENTIALS, Denied, "{url}: {credentials} are missing or invalid; {log_in}"),
    (_NOT_RENEWED, Expired, "{url}: {credentials} are missing or invalid; {log_in}"),
    ((boto.NoRegionError,), StoreError, "{url}: the AWS region is unknown; set store.region"),
    (
        (boto.FlexibleChecksumError,),
        OutOfReach,
        "{url}: {key}: damaged on the way from the store (checksum mismatch); try again, then check the network",
    ),
    (BROKEN, OutOfReach, "{url}: {where} did not answer {action} ({why}); check the network and store.endpoint"),
)
_BY_CODE: tuple[tuple[set[str], type[StoreError], str], ...] = (
    ({"NoSuchKey", "NoSuchUpload", "404", "NotFound"}, Missing, "{url}: {key} does not exist"),
    (
        {"NoSuchBucket"},
        StoreError,
        "{url}: bucket {bucket} does not exist at {where}; create it, or correct store.url and store.region",
    ),
    (
        {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"},
        StoreError,
        "{url}: bucket {bucket} is not at {where}{but}; set store.region to the region of the bucket",
    ),
    (
        EXPIRED,
        Expired,
        "{url}: {credentials} have expired; {log_in}",
    ),
    (
        {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "UnrecognizedClientException"},
        Denied,
        "{url}: the store does not accept {credentials} ({code}); {log_in}",
    ),
    (
        {"RequestTimeTooSkewed", "RequestInTheFuture"},
        StoreError,
        "{url}: this machine's clock differs too much from the store's clock; set it (timedatectl)",
    ),
    (
        DAMAGED,
        OutOfReach,
        "{url}: {key}: damaged on the way to the store (checksum mismatch); try again, then check the network",
    ),
    (
        {"SlowDown", "Throttling", "RequestLimitExceeded", "RequestTimeout"} | CONFLICT,
        OutOfReach,
        "{url}: {key}: the store is too busy for {action} ({code}), after {tries} tries; try again later",
    ),
    (
        {"500", "502", "503", "504", "429"},
        OutOfReach,
        "{url}: {key}: unexpected response to {action} ({code}), after {tries} tries; try again later",
    ),
    (
        {"AccessDenied", "401", "403"},
        Denied,
        "{url}: {key}: {credentials} do not allow {action} ({message}); allow it in the bucket's or the user's policy",
    ),
)

_BARE_STATUS = {"200", "400", "404", "405", "501"}
"""Codes of answers without an error of S3, which names its errors, except on HEAD: another web server answered."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where the store is and which credentials are used, as messages name them."""

    url: str
    bucket: str
    region: str
    endpoint: str
    profile: str

    @property
    def where(self) -> str:
        return self.endpoint or f"S3 in {self.region or 'the default region'}"

    @property
    def credentials(self) -> str:
        return f"the credentials of profile {self.profile}" if self.profile else "the default credentials"

    @property
    def log_in(self) -> str:
        return (
            f"run: aws sso login --profile {self.profile}"
            if self.profile
            else "run aws sso login, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


@contextmanager
def translated_errors(location: Location, action: str, key: str = "") -> Iterator[None]:
    """Translate boto3's errors inside this context into StoreErrors."""
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError, ResponseParserError, HTTPError, OSError) as error:
        raise translated(error, location, action, key) from error


def code_of(error: Exception) -> str:
    """Return S3's code for the error, or the HTTP status if the answer had no body."""
    if not isinstance(error, boto.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def tries_of(error: boto.ClientError) -> int:
    """Return how often botocore sent the request."""
    return int(error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) + 1


def translated(error: Exception, location: Location, action: str, key: str = "") -> StoreError:
    """Return the error as a StoreError, whose message names the thing, the fact and the remedy."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, boto.ClientError):
        return _from_answer(error, location, action, key)
    if is_unknown_host(f"{error} {getattr(error, 'kwargs', {}).get('error', '')}"):
        return StoreError(
            f"{location.url}: the host of {location.where} is unknown; correct store.endpoint, or check DNS"
        )
    if isinstance(error, ResponseParserError):
        return StoreError(
            f"{location.url}: {location.where} answered {action}, but not as S3 does; correct store.endpoint"
        )
    for classes, translation, message in _BY_CLASS:
        if isinstance(error, classes):
            return translation(
                message.format(
                    url=location.url, key=key, profile=location.profile, credentials=location.credentials,
                    log_in=location.log_in, where=location.where, action=action, why=_why(error),
                )
            )  # fmt: skip
    return StoreError(f"{location.url}: {key}: {action}: {error}")


def _from_answer(error: boto.ClientError, location: Location, action: str, key: str) -> StoreError:
    answer = error.response.get("Error", {})
    code, status = code_of(error), str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    facts = {
        "url": location.url,
        "bucket": location.bucket,
        "where": location.where,
        "credentials": location.credentials,
        "log_in": location.log_in,
        "key": key or "the object",
        "action": action,
        "code": code,
        "message": answer.get("Message") or code,
        "but": f", but in {region}" if (region := str(answer.get("Region", ""))) else "",
        "tries": tries_of(error),
    }
    if code in _BARE_STATUS and error.operation_name != "HeadObject":
        return StoreError(
            "{url}: {where} answered {action} with HTTP {code}, but not as S3 does; correct store.endpoint".format(
                **facts
            )
        )
    if action == LOCKED_WRITE and code in NO_LOCK | {"InvalidRequest"}:
        return StoreError(
            "{url}: bucket {bucket} has no object lock, which lock in the file needs ({message}); "
            "enable it (object_lock = true in the Terraform module backups), or remove lock".format(**facts)
        )
    for answered in (code, status):
        for codes, translation, message in _BY_CODE:
            if answered in codes:
                return translation(message.format(**facts))
    return StoreError("{url}: {key}: {action}: {code}: {message}".format(**facts))


def _why(error: Exception) -> str:
    if isinstance(error, boto.ReadTimeoutError | boto.ConnectTimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, boto.SSLError):
        return "its TLS certificate is not trusted"
    return "no connection"
