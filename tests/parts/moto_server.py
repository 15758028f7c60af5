"""The AWS emulator, with five corrections.

It answers the calls about budgets that the AWS provider makes and that moto lacks. Without answers, the provider asks
again for many minutes. It does not apply policies that refuse requests without TLS: moto ignores their condition and
would refuse all requests, and the tests have no TLS. It answers what object lock an object has, which moto cannot. It
writes one object at a time: moto looks whether a key exists before it writes, so two writers could create the same key.
It sends a response's headers and body together. When the body arrives later, Terraform sometimes repeats the request
for a lock, and then waits for its own lock.
"""

from __future__ import annotations

import json
from threading import Lock
from typing import Any

from moto.budgets.responses import BudgetsResponse
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response
from moto.server import MotoRequestHandler, main

NO_TLS = {"Bool": {"aws:SecureTransport": "false"}}

TAGS: dict[str, list[dict[str, Any]]] = {}
"""The tags of each budget, by its name."""


def describe_subscribers_for_notification(response: BudgetsResponse) -> str:
    budgets = response.backend.budgets[response._get_param("AccountId")]
    wanted = response._get_param("Notification")
    same = ("NotificationType", "ComparisonOperator", "Threshold", "ThresholdType")
    subscribers = [
        notification.subscribers
        for notification in budgets[response._get_param("BudgetName")].notifications
        if all(notification.details.get(name) == wanted.get(name) for name in same)
    ]
    return json.dumps({"Subscribers": subscribers[0] if subscribers else [], "NextToken": None})


def list_tags_for_resource(response: BudgetsResponse) -> str:
    return json.dumps({"ResourceTags": TAGS.get(_name(response), [])})


def tag_resource(response: BudgetsResponse) -> str:
    TAGS[_name(response)] = response._get_param("ResourceTags")
    return json.dumps({})


def _name(response: BudgetsResponse) -> str:
    arn: str = response._get_param("ResourceARN")
    return arn.rpartition("/")[2]


def create_budget(response: BudgetsResponse) -> str:
    answer = _create_budget(response)
    TAGS[response._get_param("Budget")["BudgetName"]] = response._get_param("ResourceTags", [])
    return answer


def get_permission(bucket: FakeBucket, action: str, resource: str) -> PermissionResult:
    policy = json.loads(bucket.policy) if bucket.policy else {"Statement": []}
    statements = [each for each in policy["Statement"] if each.get("Condition") != NO_TLS]
    if not statements:
        return PermissionResult.NEUTRAL
    return IAMPolicy(json.dumps({**policy, "Statement": statements})).is_action_permitted(action, resource)


def get_object(response: S3Response) -> Any:
    """Answer GetObjectRetention. To moto, that is a request for the object with a parameter that it does not know."""
    if "retention" not in response.querystring:
        return _get_object(response)
    key, _ = response._get_key()
    if not key.lock_until:
        return 404, {}, "<Error><Code>NoSuchObjectLockConfiguration</Code><Message>no lock</Message></Error>"
    retention = f"<Mode>{key.lock_mode}</Mode><RetainUntilDate>{key.lock_until}</RetainUntilDate>"
    return 200, {}, f"<Retention>{retention}</Retention>"


def put_object(response: S3Response) -> Any:
    with _WRITING:
        return _put_object(response)


_create_budget = BudgetsResponse.create_budget
_get_object = S3Response.get_object
_put_object = S3Response.put_object
_WRITING = Lock()

if __name__ == "__main__":
    for answer in (
        describe_subscribers_for_notification, list_tags_for_resource, tag_resource, create_budget,
    ):  # fmt: skip
        setattr(BudgetsResponse, answer.__name__, answer)
    FakeBucket.get_permission = get_permission
    setattr(S3Response, get_object.__name__, get_object)
    setattr(S3Response, put_object.__name__, put_object)
    MotoRequestHandler.wbufsize = 65_536  # without a buffer, headers and body are sent one after the other
    main()
