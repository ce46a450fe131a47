#!/bin/sh
# Validates the manifests with kubernetes-validate (from PyPI), which includes the schemas of Kubernetes.
set -eu
if ! python3 -c 'import ensurepip, tomllib, venv' 2>/dev/null; then
    echo "k8s/check.sh requires Python 3.11 with venv: apt-get install python3-venv, or python3 from Homebrew" >&2
    exit 1
fi
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/../target/k8s-venv
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$here/check.py"
