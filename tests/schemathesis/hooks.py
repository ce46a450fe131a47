"""What schemathesis has to be told, because no schema describes it: lines of JSON, and a form in one of two places."""

import json

import schemathesis
from schemathesis.core import NOT_SET
from schemathesis.core.parameters import ParameterLocation


@schemathesis.serializer("application/x-ndjson")
def write_lines(_, value):
    """Lines go as they are; any other text becomes the text of a message, and what is no text is no message."""
    if not isinstance(value, str):
        return json.dumps(value).encode()
    if value.lstrip().startswith("{"):
        return value.encode()
    return json.dumps({"text": value.replace("\0", "")[:4096] or "nothing"}).encode()


def is_write(hook):
    """A hook for `POST /message/write/`, which takes a form from one of two places."""
    return schemathesis.hook.apply_to(method="POST", path_regex="^/message/write/?$")(hook)


@is_write
def filter_case(_, case):
    """All four are needed in one place, which a list of parameters cannot say."""
    return case.body is not NOT_SET or {"username", "city", "state", "message"} <= set(case.query or ())


@is_write
def before_call(_, case, kwargs):
    """Where there is a query no body is looked at: of both, the one stays that is wrong on purpose."""
    if case.query and case.body is not NOT_SET:
        query = case.meta and case.meta.components.get(ParameterLocation.QUERY)
        if query and query.mode.is_negative:
            case.body = NOT_SET
        else:
            case.query = {}
