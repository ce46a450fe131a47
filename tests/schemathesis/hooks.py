"""Schemathesis hooks for what the schema cannot express: NDJSON bodies, JSON as text from a web page, and a form in the
query or the body."""

import json

import schemathesis
from schemathesis.core import NOT_SET
from schemathesis.core.parameters import ParameterLocation


@schemathesis.serializer("application/x-ndjson")
def serialize_ndjson(_, value):
    """Returns JSON lines unchanged, converts other text to a message, and encodes other values as JSON."""
    if not isinstance(value, str):
        return json.dumps(value).encode()
    if value.lstrip().startswith("{"):
        return value.encode()
    return json.dumps({"text": value.replace("\0", "")[:4096] or "nothing"}).encode()


@schemathesis.hook.apply_to(method="POST", path_regex="^/v1/visits$")
def filter_case(_, case):
    """Skips generated bodies of the type `text/plain`, which must contain JSON. The examples are not filtered."""
    return case.media_type != "text/plain"


@schemathesis.hook.apply_to(method="POST", path_regex="^/v1/visits$")
def before_call(_, case, __):
    """Sends bodies of the type `text/plain` as a web page of the same origin does."""
    if case.media_type == "text/plain":
        case.headers["Origin"] = case.operation.base_url


def for_message_write(hook):
    """Applies a hook to `POST /message/write/`, which takes its form from the query or the body."""
    return schemathesis.hook.apply_to(method="POST", path_regex="^/message/write/?$")(hook)


@for_message_write
def filter_case(_, case):
    """Keeps cases with a body or with all four query parameters, which the parameter list cannot require."""
    return case.body is not NOT_SET or {"username", "city", "state", "message"} <= set(case.query or ())


@for_message_write
def before_call(_, case, kwargs):
    """Removes the query or the body, since the service ignores the body of a request with a query.

    Keeps the one that is invalid on purpose."""
    if case.query and case.body is not NOT_SET:
        query = case.meta and case.meta.components.get(ParameterLocation.QUERY)
        if query and query.mode.is_negative:
            case.body = NOT_SET
        else:
            case.query = {}
