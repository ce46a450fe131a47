"""What schemathesis has to be told of lines of JSON, which no schema describes."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def write_lines(_, value):
    """Lines go as they are; any other text becomes the text of a message, and what is no text is no message."""
    if not isinstance(value, str):
        return json.dumps(value).encode()
    if value.lstrip().startswith("{"):
        return value.encode()
    return json.dumps({"text": value.replace("\0", "")[:4096] or "nothing"}).encode()
