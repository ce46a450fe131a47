"""The one entrance, as three files say it: which service each path and method goes to.

Each table is {(path, method): service}; `*` is any method, and at the end of a path all that lies behind it.
"""

import re

REST = ("/*", "*")


def compare(route, nginx, document):
    """Says where nginx.conf or the document differ from the HTTPRoute."""
    tables = {
        "gateway.yaml": read_route(route),
        "nginx.conf": read_nginx(nginx),
        "OPERATIONS.md": read_document(document),
    }
    # What goes where everything else goes need not be said.
    for table in tables.values():
        for key in [key for key in table if key != REST and table[key] == table.get(REST)]:
            del table[key]
    (name, table), *others = tables.items()
    for other, theirs in others:
        for path, method in sorted(table.keys() | theirs.keys()):
            here, there = table.get((path, method)), theirs.get((path, method))
            if here != there:
                yield f"{method} {path} goes to {here} in {name}, to {there} in {other}"


def read_route(route):
    table = {}
    for rule in route["spec"]["rules"]:
        for match in rule["matches"]:
            path = write_path(match["path"]["value"], match["path"]["type"] == "Exact")
            table[path, match.get("method", "*")] = rule["backendRefs"][0]["name"]
    return table


def read_nginx(text):
    text = re.sub(r"(?m)^\s*#.*", "", text)
    maps = dict(re.findall(r"map \$request_method \$(\w+) \{(.*?)\}", text, re.DOTALL))
    table = {}
    locations = re.findall(r"location (= )?(/\S*) \{(.*?)\}", text, re.DOTALL)
    prefixes = {path.rstrip("/") for exact, path, _ in locations if not exact}
    for exact, path, body in locations:
        # Without the slash, a path with more behind it is exact in nginx, and part of the prefix in an HTTPRoute.
        if exact and path != "/" and path in prefixes:
            continue
        is_mapped, target = re.search(r"proxy_pass http://(\$?)(\w+);", body).groups()
        ways = re.findall(r"(\S+)\s+(\w+);", maps[target]) if is_mapped else [("default", target)]
        for methods, upstream in ways:
            for method in read_methods(methods):
                table[write_path(path, exact), method] = upstream.replace("_", "-")
    return table


def read_document(text):
    section = text.partition("\n## The one entrance\n")[2].partition("\n## ")[0]
    table = {}
    for paths, methods, service in re.findall(r"(?m)^\| (.+?) \| (.+?) \| ([a-z]+-[a-z]+) \|$", section):
        for path in re.findall(r"`(/[^`]*)`", paths) or ["/*"]:
            for method in read_methods(methods):
                table[write_path(path.removesuffix("*"), not path.endswith("*")), method] = service
    return table


def read_methods(text):
    return re.findall(r"\b[A-Z]{3,}\b", text) or ["*"]


def write_path(path, is_exact):
    return path if is_exact else path.rstrip("/") + "/*"
