#!/usr/bin/env bash
# Checks format, style and types of the browser client, the web page and their tests.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v npm >/dev/null; then
    echo 'web/check.sh: npm is missing: install Node.js 20.19 or later.' >&2
    exit 1
fi
# npm writes this file after each successful installation.
if [ ! package-lock.json -ot node_modules/.package-lock.json ]; then
    npm ci --no-audit --no-fund --loglevel=error
fi

cd ..
files=(web crates/openapi/page tests/tests/e2e/client)
web/node_modules/.bin/prettier --config web/.prettierrc.json --log-level warn --check "${files[@]}"
web/node_modules/.bin/eslint --config web/eslint.config.js "${files[@]}"
web/node_modules/.bin/tsc --project web
