"""Compares the routing table of the single entry point in three files.

A table is {(path, method): service}. `*` is any method, and at the end of a path it matches every suffix.
"""

import re

DEFAULT = ("/*", "*")


def find_differences(route, nginx, document):
    """Yields the differences of nginx.conf and of the document from the HTTPRoute."""
    tables = {
        "gateway.yaml": parse_route(route),
        "nginx.conf": parse_nginx(nginx),
        "OPERATIONS.md": parse_document(document),
    }
    # A route to the default service is redundant.
    for table in tables.values():
        for key in [key for key in table if key != DEFAULT and table[key] == table.get(DEFAULT)]:
            del table[key]
    (name, table), *others = tables.items()
    for other_name, other in others:
        for path, method in sorted(table.keys() | other.keys()):
            service, other_service = table.get((path, method)), other.get((path, method))
            if service != other_service:
                yield f"{method} {path} is routed to {service} in {name}, to {other_service} in {other_name}"


def parse_route(route):
    table = {}
    for rule in route["spec"]["rules"]:
        for match in rule["matches"]:
            path = format_path(match["path"]["value"], match["path"]["type"] == "Exact")
            table[path, match.get("method", "*")] = rule["backendRefs"][0]["name"]
    return table


def parse_nginx(text):
    text = re.sub(r"(?m)^\s*#.*", "", text)
    maps = dict(re.findall(r"map \$request_method \$(\w+) \{(.*?)\}", text, re.DOTALL))
    table = {}
    locations = re.findall(r"location (= )?(/\S*) \{(.*?)\}", text, re.DOTALL)
    prefixes = {path.rstrip("/") for exact, path, _ in locations if not exact}
    for exact, path, body in locations:
        # Without its slash, the path of a prefix is an exact location in nginx, and part of the prefix in an HTTPRoute.
        if exact and path != "/" and path in prefixes:
            continue
        target = re.search(r"proxy_pass http://\$(\w+);", body)[1]
        targets = re.findall(r"(\S+)\s+\$(\w+);", maps[target]) if target in maps else [("default", target)]
        for methods, upstream in targets:
            for method in parse_methods(methods):
                table[format_path(path, exact), method] = upstream.replace("_", "-")
    return table


def parse_document(text):
    section = text.partition("\n## Single entry point\n")[2].partition("\n## ")[0]
    table = {}
    for paths, methods, service in re.findall(r"(?m)^\| (.+?) \| (.+?) \| ([a-z]+-[a-z]+) \|$", section):
        for path in re.findall(r"`(/[^`]*)`", paths) or ["/*"]:
            for method in parse_methods(methods):
                table[format_path(path.removesuffix("*"), not path.endswith("*")), method] = service
    return table


def parse_methods(text):
    return re.findall(r"\b[A-Z]{3,}\b", text) or ["*"]


def format_path(path, is_exact):
    return path if is_exact else path.rstrip("/") + "/*"
