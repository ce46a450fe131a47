"""Whether a value of the ConfigMap is one that a service reads: its key is known, and it looks like its default."""

import re
import tomllib
from pathlib import Path

DEFAULTS = tomllib.loads((Path(__file__).resolve().parent.parent / "crates/runtime/default.toml").read_text())
# What everyone knows, and is no secret.
KNOWN_NAMES = {"AWS_REGION", "AWS_ENDPOINT_URL", "MESSY_BUCKET", "MESSY_KEY"}
# How a value looks whose default looks like the left one.
LOOKS = (
    (r"\d+(ms|s|m|h)", r"\d+(ms|s|m|h)"),
    (r"\d+(B|KiB|MiB|GiB)", r"\d+(B|KiB|MiB|GiB)"),
    (r"\d+/\w+", r"off|\d+/(second|minute|hour|day)"),
    (r"\d+", r"\d+"),
    (r"on|off", r"on|off|\d+"),
    (r"pretty", r"pretty|json"),
    (r"", r"https?://\S+"),
    (r".*", r".*"),
)


def find_fault(name, value):
    """Says what is wrong with a setting, or nothing."""
    if name in KNOWN_NAMES:
        return None
    section, _, key = name.removeprefix("MAYFLY_").lower().partition("__")
    default = DEFAULTS.get(section, {}).get(key)
    if default is None or not name.startswith("MAYFLY_"):
        return "there is no such key"
    if f"{section}.{key}" in ("redis.url", "postgres.url"):
        return "belongs into a Secret"
    if value == str(default):
        return "that is the default"
    allowed = next(allowed for like, allowed in LOOKS if re.fullmatch(like, str(default)))
    return None if re.fullmatch(allowed, value) else f"allowed is {allowed}"
