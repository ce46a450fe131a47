"""Compares memory limits with the table "Memory" of OPERATIONS.md, which has a formula for each service.

A formula consists of sizes, numbers and configuration keys: `64MiB + 3 * http.bodies_bytes_max`.
"""

import re
from pathlib import Path

import settings

DOCUMENT = Path(__file__).resolve().parent.parent / "docs/OPERATIONS.md"
UNITS = {"": 0, "B": 0, "KiB": 10, "Ki": 10, "MiB": 20, "Mi": 20, "mb": 20, "GiB": 30, "Gi": 30, "gb": 30}
# A limit is at most this much larger than the formula, so that an outdated one is found in both directions.
SLACK_MAX = 1.5


def parse_size(text):
    """Returns the bytes of a size in the notation of Kubernetes, Redis or a configuration key."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", text).groups()
    return int(number) << UNITS[unit]


def read_formulas():
    """Returns the formula and the documented result of each service."""
    section = DOCUMENT.read_text().partition("\n### Memory\n")[2].partition("\n### ")[0]
    return {
        service: (formula, result)
        for service, formula, result in re.findall(r"(?m)^\| ([a-z-]+) \| `([^`]+)` \| (\d+ MiB) \|", section)
    }


def evaluate(formula, values):
    """Returns the bytes of a formula. `values` replaces the defaults of configuration keys."""

    def find_value(match):
        section, key = match.groups()
        default = settings.DEFAULTS[section][key]
        return str(parse_size(str(values.get(f"MAYFLY_{section}__{key}".upper(), default))))

    numbers = re.sub(r"\b([a-z]+)\.([a-z_]+)\b", find_value, formula)
    numbers = re.sub(r"\b\d+[A-Za-z]+\b", lambda match: str(parse_size(match[0])), numbers)
    if not re.fullmatch(r"[\d+*() ]+", numbers):
        raise ValueError(f"the formula `{formula}` contains more than sizes, numbers, keys, `+`, `*` and parentheses")
    return eval(numbers)  # only arithmetic


def find_problems(limits, values, services):
    """Yields the differences of the limits, by container, from the formulas with the settings of each container."""
    formulas = read_formulas()
    for service in services:
        if service not in formulas:
            yield f"OPERATIONS.md has no formula for the memory of {service}"
            continue
        formula, result = formulas[service]
        expected = parse_size(result.replace(" MiB", "MiB"))
        default = -(-evaluate(formula, {}) >> 20) << 20
        if default != expected:
            yield f"OPERATIONS.md: the formula of {service} yields {default >> 20} MiB with the defaults, not {result}"
        needed, limit = evaluate(formula, values[service]), parse_size(limits[service])
        if not needed <= limit <= SLACK_MAX * needed:
            yield (
                f"the memory limit of {service} is {limits[service]}, and the formula in OPERATIONS.md yields"
                f" {-(-needed >> 20)} MiB: expected a limit between this and {SLACK_MAX} times this"
            )
