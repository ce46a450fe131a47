"""Validates the values of the ConfigMap: their keys exist, and their format is that of the default."""

import re
import tomllib
from pathlib import Path

DEFAULTS = tomllib.loads((Path(__file__).resolve().parent.parent / "crates/runtime/default.toml").read_text())
# Variables of others, without secrets.
EXTERNAL_NAMES = {"AWS_REGION", "AWS_ENDPOINT_URL", "MESSY_BUCKET", "MESSY_KEY"}
# The format of a default, and the format of the values that may replace it. The first match applies.
FORMATS = (
    (r"\d+(ms|s|m|h)", r"\d+(ms|s|m|h)"),
    (r"\d+(B|KiB|MiB|GiB)", r"\d+(B|KiB|MiB|GiB)"),
    (r"\d+/\w+", r"off|\d+/(second|minute|hour|day)"),
    (r"\d+", r"\d+"),
    (r"on|off", r"on|off|\d+"),
    (r"pretty", r"pretty|json"),
    (r"", r"https?://\S+"),
    (r".*", r".*"),
)


def find_error(name, value):
    """Returns the problem of a setting, or None."""
    if name in EXTERNAL_NAMES:
        return None
    section, _, key = name.removeprefix("MAYFLY_").lower().partition("__")
    default = DEFAULTS.get(section, {}).get(key)
    if default is None or not name.startswith("MAYFLY_"):
        return "unknown key"
    if f"{section}.{key}" in ("redis.url", "redis.password", "postgres.url", "postgres.password"):
        return "must be in a Secret"
    if value == str(default):
        return "is the default; remove it"
    expected = next(values for defaults, values in FORMATS if re.fullmatch(defaults, str(default)))
    if key.endswith("_file"):
        expected = r"/\S+"
    return None if re.fullmatch(expected, value) else f"expected {expected}"
