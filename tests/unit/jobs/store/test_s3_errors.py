from __future__ import annotations

import pytest
from botocore import exceptions as boto

from jobs.store import Denied, Missing, OutOfReach, StoreError
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
    ("error", "place", "kind", "message"),
    [
        (answered("NoSuchKey", 404), AWS, Missing, "s3://acme/crew: there is no a/b"),
        (answered("404", 404), AWS, Missing, "s3://acme/crew: there is no a/b"),
        (
            answered("NoSuchBucket", 404),
            AWS,
            StoreError,
            "s3://acme/crew: there is no bucket acme at S3 in eu-central-1; create it, or correct store.url and "
            "store.region",
        ),
        (
            answered("PermanentRedirect", 301, Region="us-west-2"),
            AWS,
            StoreError,
            "s3://acme/crew: bucket acme is not at S3 in eu-central-1, but in us-west-2; "
            "set store.region to where it is",
        ),
        (
            answered("301", 301),
            AWS,
            StoreError,
            "s3://acme/crew: bucket acme is not at S3 in eu-central-1; set store.region to where it is",
        ),
        (
            answered("ExpiredToken"),
            AWS,
            Denied,
            "s3://acme/crew: the credentials of profile writer have expired; aws sso login --profile writer",
        ),
        (
            answered("SignatureDoesNotMatch", 403),
            OWN,
            Denied,
            "s3://acme/crew: the credentials of the environment are not accepted (SignatureDoesNotMatch); "
            "aws sso login, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            answered("AccessDenied", 403, "no identity-based policy allows it"),
            AWS,
            Denied,
            "s3://acme/crew: a/b: profile writer may not do s3:PutObject (no identity-based policy allows it); "
            "allow it in the policy of bucket or user",
        ),
        (
            answered("403", 403, ""),
            AWS,
            Denied,
            "s3://acme/crew: a/b: profile writer may not do s3:PutObject (403); "
            "allow it in the policy of bucket or user",
        ),
        (
            answered("RequestTimeTooSkewed", 403),
            AWS,
            StoreError,
            "s3://acme/crew: this machine's clock is too far from the store's; set it (timedatectl)",
        ),
        (
            answered("SlowDown", 503),
            AWS,
            OutOfReach,
            "s3://acme/crew: a/b: too busy for s3:PutObject (SlowDown), asked 5 times; try again later",
        ),
        (
            answered("InternalError", 500),
            AWS,
            OutOfReach,
            "s3://acme/crew: a/b: no proper answer to s3:PutObject (InternalError), asked 5 times; try again later",
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
            "s3://acme/crew: no valid credentials came from profile writer; aws sso login --profile writer",
        ),
        (
            boto.ProfileNotFound(profile="writer"),
            AWS,
            Denied,
            "s3://acme/crew: there is no AWS profile writer; add it to ~/.aws/config, or name another in store.profile",
        ),
        (
            boto.ReadTimeoutError(endpoint_url="x"),
            OWN,
            OutOfReach,
            "s3://acme/crew: http://s3.internal:8333 did not answer s3:PutObject (time-out); check the network and "
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
def test_an_error_names_the_thing_the_fact_and_the_way_out(
    error: Exception, place: Location, kind: type[StoreError], message: str
) -> None:
    told = translated(error, place, "s3:PutObject", "a/b")
    assert type(told) is kind
    assert str(told) == message


def test_the_stores_own_errors_stay_as_they_are() -> None:
    own = Missing("there is none")
    assert translated(own, AWS, "s3:GetObject") is own
