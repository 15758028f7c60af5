"""Errors of S3 and of the network, as users read them."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from jobs.store import Denied, Expired, Missing, OutOfReach, StoreError
from jobs.store.s3_errors import Location, translated

AWS = Location("s3://acme/crew", "acme", "eu-central-1", "", "writer")
OWN = Location("s3://acme/crew", "acme", "", "http://s3.internal:8333", "")


def answered(code: str, status: int = 400, message: str = "as S3 puts it", **more: str) -> boto.ClientError:
    return boto.ClientError(
        {
            "Error": {"Code": code, "Message": message, **more},  # type: ignore[typeddict-item]
            "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 4},  # type: ignore[typeddict-item]
        },
        "PutObject",
    )


@pytest.mark.parametrize(
    ("error", "location", "expected", "message"),
    [
        (answered("NoSuchKey", 404), AWS, Missing, "s3://acme/crew: a/b does not exist"),
        (
            answered("404", 404),
            OWN,
            StoreError,
            "s3://acme/crew: http://s3.internal:8333 answered s3:PutObject with HTTP 404, but not as S3 does; "
            "correct store.endpoint",
        ),
        (
            ResponseParserError("Unable to parse response"),
            OWN,
            StoreError,
            "s3://acme/crew: http://s3.internal:8333 answered s3:PutObject, but not as S3 does; correct store.endpoint",
        ),
        (
            boto.EndpointConnectionError(endpoint_url="x", error="[Errno -2] Name or service not known"),
            OWN,
            StoreError,
            "s3://acme/crew: the host of http://s3.internal:8333 is unknown; correct store.endpoint, or check DNS",
        ),
        (
            answered("NoSuchBucket", 404),
            AWS,
            StoreError,
            "s3://acme/crew: bucket acme does not exist at S3 in eu-central-1; create it, or correct store.url and "
            "store.region",
        ),
        (
            answered("PermanentRedirect", 301, Region="us-west-2"),
            AWS,
            StoreError,
            "s3://acme/crew: bucket acme is not at S3 in eu-central-1, but in us-west-2; "
            "set store.region to the region of the bucket",
        ),
        (
            answered("301", 301),
            AWS,
            StoreError,
            "s3://acme/crew: bucket acme is not at S3 in eu-central-1; set store.region to the region of the bucket",
        ),
        (
            answered("ExpiredToken"),
            AWS,
            Expired,
            "s3://acme/crew: the credentials of profile writer have expired; run: aws sso login --profile writer",
        ),
        (
            answered("SignatureDoesNotMatch", 403),
            OWN,
            Denied,
            "s3://acme/crew: the store does not accept the default credentials (SignatureDoesNotMatch); "
            "run aws sso login, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            answered("AccessDenied", 403, "no identity-based policy allows it"),
            AWS,
            Denied,
            "s3://acme/crew: a/b: the credentials of profile writer do not allow s3:PutObject "
            "(no identity-based policy allows it); "
            "allow it in the bucket's or the user's policy",
        ),
        (
            answered("403", 403, ""),
            AWS,
            Denied,
            "s3://acme/crew: a/b: the credentials of profile writer do not allow s3:PutObject (403); "
            "allow it in the bucket's or the user's policy",
        ),
        (
            answered("RequestTimeTooSkewed", 403),
            AWS,
            StoreError,
            "s3://acme/crew: this machine's clock differs too much from the store's clock; set it (timedatectl)",
        ),
        (
            answered("SlowDown", 503),
            AWS,
            OutOfReach,
            "s3://acme/crew: a/b: the store is too busy for s3:PutObject (SlowDown), after 5 tries; try again later",
        ),
        (
            answered("InternalError", 500),
            AWS,
            OutOfReach,
            "s3://acme/crew: a/b: unexpected response to s3:PutObject (InternalError), after 5 tries; try again later",
        ),
        (
            answered("KeyTooLongError", 400, "Your key is too long"),
            AWS,
            StoreError,
            "s3://acme/crew: a/b: s3:PutObject: KeyTooLongError: Your key is too long",
        ),
        (
            boto.NoCredentialsError(),
            AWS,
            Denied,
            "s3://acme/crew: the credentials of profile writer are missing or invalid; "
            "run: aws sso login --profile writer",
        ),
        (
            boto.ProfileNotFound(profile="writer"),
            AWS,
            Denied,
            "s3://acme/crew: AWS profile writer does not exist; add it to ~/.aws/config, "
            "or set store.profile to another profile",
        ),
        (
            boto.ReadTimeoutError(endpoint_url="x"),
            OWN,
            OutOfReach,
            "s3://acme/crew: http://s3.internal:8333 did not answer s3:PutObject (timeout); check the network and "
            "store.endpoint",
        ),
        (
            boto.SSLError(endpoint_url="x", error="certificate verify failed: self-signed certificate"),
            OWN,
            OutOfReach,
            "s3://acme/crew: http://s3.internal:8333 did not answer s3:PutObject (its TLS certificate is not trusted); "
            "check the network and store.endpoint",
        ),
        (
            ConnectionResetError(104, "reset"),
            AWS,
            OutOfReach,
            "s3://acme/crew: S3 in eu-central-1 did not answer s3:PutObject (no connection); check the network and "
            "store.endpoint",
        ),
        (
            boto.ParamValidationError(report="what?"),
            AWS,
            StoreError,
            "s3://acme/crew: a/b: s3:PutObject: Parameter validation failed:\nwhat?",
        ),
    ],
)
def test_an_error_names_the_thing_the_fact_and_the_remedy(
    error: Exception, location: Location, expected: type[StoreError], message: str
) -> None:
    store_error = translated(error, location, "s3:PutObject", "a/b")
    assert type(store_error) is expected
    assert str(store_error) == message


def test_a_store_error_is_not_translated_again() -> None:
    own = Missing("a does not exist")
    assert translated(own, AWS, "s3:GetObject") is own
