"""What S3 and the way to it can answer, in words a user can act on, and never with a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from jobs.store.interface import Denied, Missing, OutOfReach, StoreError

BROKEN = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    HTTPError,
    OSError,
)
"""A connection that could not be made, or broke, or stalled."""

DAMAGED = {"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
"""What S3 says when a body's checksum is not that of the body."""

CONFLICT = {"ConditionalRequestConflict"}
"""What S3 says when two conditional writes meet: neither was done."""

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    boto.SSOError,
    boto.RefreshWithMFAUnsupportedError,
)
_RAISED: tuple[tuple[tuple[type[Exception], ...], type[StoreError], str], ...] = (
    (
        (boto.ProfileNotFound,),
        Denied,
        "{url}: there is no AWS profile {profile}; add it to ~/.aws/config, or name another in store.profile",
    ),
    (_NO_CREDENTIALS, Denied, "{url}: no valid credentials came from {whom}; {log_in}"),
    ((boto.NoRegionError,), StoreError, "{url}: no region is known; set store.region"),
    (
        (boto.FlexibleChecksumError,),
        OutOfReach,
        "{url}: {key}: what arrived is not what was stored (checksum); try again, then check the network",
    ),
    (BROKEN, OutOfReach, "{url}: {where} did not answer {action} ({why}); check the network and store.endpoint"),
)
_SAID: tuple[tuple[set[str], type[StoreError], str], ...] = (
    ({"NoSuchKey", "NoSuchUpload", "404", "NotFound"}, Missing, "{url}: there is no {key}"),
    (
        {"NoSuchBucket"},
        StoreError,
        "{url}: there is no bucket {bucket} at {where}; create it, or correct store.url and store.region",
    ),
    (
        {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"},
        StoreError,
        "{url}: bucket {bucket} is not at {where}{but}; set store.region to where it is",
    ),
    (
        {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"},
        Denied,
        "{url}: the credentials of {whom} have expired; {log_in}",
    ),
    (
        {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "UnrecognizedClientException"},
        Denied,
        "{url}: the credentials of {whom} are not accepted ({code}); {log_in}",
    ),
    (
        {"RequestTimeTooSkewed", "RequestInTheFuture"},
        StoreError,
        "{url}: this machine's clock is too far from the store's; set it (timedatectl)",
    ),
    (
        DAMAGED,
        OutOfReach,
        "{url}: {key}: what arrived in the store is not what was sent (checksum); try again, then check the network",
    ),
    (
        {"SlowDown", "Throttling", "RequestLimitExceeded", "RequestTimeout"} | CONFLICT,
        OutOfReach,
        "{url}: {key}: too busy for {action} ({code}), asked {tries} times; try again later",
    ),
    (
        {"500", "502", "503", "504", "429"},
        OutOfReach,
        "{url}: {key}: no proper answer to {action} ({code}), asked {tries} times; try again later",
    ),
    (
        {"AccessDenied", "401", "403"},
        Denied,
        "{url}: {key}: {whom} may not do {action} ({said}); allow it in the policy of bucket or user",
    ),
)


@dataclass(frozen=True, slots=True)
class Location:
    """What a message names: the store's address, its bucket, where it lies, and as whom it is asked."""

    url: str
    bucket: str
    region: str
    endpoint: str
    profile: str

    @property
    def where(self) -> str:
        return self.endpoint or f"S3 in {self.region or 'the default region'}"

    @property
    def whom(self) -> str:
        return f"profile {self.profile}" if self.profile else "the environment"

    @property
    def log_in(self) -> str:
        return (
            f"aws sso login --profile {self.profile}"
            if self.profile
            else "aws sso login, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


@contextmanager
def translated_errors(place: Location, action: str, key: str = "") -> Iterator[None]:
    """Let what boto3 raises inside pass as a StoreError."""
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError, HTTPError, OSError) as error:
        raise translated(error, place, action, key) from error


def code_of(error: Exception) -> str:
    """S3's own code for the error; the bare HTTP status where an answer had no body."""
    if not isinstance(error, boto.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def tries_of(error: boto.ClientError) -> int:
    """How often botocore asked before it gave this answer back."""
    return int(error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) + 1


def translated(error: Exception, place: Location, action: str, key: str = "") -> StoreError:
    """The error as one of the store's own, its message naming the thing, the fact and the way out."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, boto.ClientError):
        return _answered(error, place, action, key)
    for kinds, kind, sentence in _RAISED:
        if isinstance(error, kinds):
            return kind(
                sentence.format(
                    url=place.url, key=key, profile=place.profile, whom=place.whom, log_in=place.log_in,
                    where=place.where, action=action, why=_why(error),
                )
            )  # fmt: skip
    return StoreError(f"{place.url}: {key}: {action}: {error}")


def _answered(error: boto.ClientError, place: Location, action: str, key: str) -> StoreError:
    answer = error.response.get("Error", {})
    code, status = code_of(error), str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    facts = {
        "url": place.url,
        "bucket": place.bucket,
        "where": place.where,
        "whom": place.whom,
        "log_in": place.log_in,
        "key": key or "it",
        "action": action,
        "code": code,
        "said": answer.get("Message") or code,
        "but": f", but in {region}" if (region := str(answer.get("Region", ""))) else "",
        "tries": tries_of(error),
    }
    for said in (code, status):
        for codes, kind, sentence in _SAID:
            if said in codes:
                return kind(sentence.format(**facts))
    return StoreError("{url}: {key}: {action}: {code}: {said}".format(**facts))


def _why(error: Exception) -> str:
    if isinstance(error, boto.ReadTimeoutError | boto.ConnectTimeoutError | TimeoutError):
        return "time-out"
    if isinstance(error, boto.SSLError):
        return "its TLS certificate is not trusted"
    return "no connection"
