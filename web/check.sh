#!/usr/bin/env bash
# Checks format, style and types of the client, the web page, the examples and their tests, and runs the client in Node
# and in bundles of common tools.
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

node client/build.js --check
for project in tsconfig.json tsconfig.node.json tsconfig.types.json; do
    node_modules/.bin/tsc --project "$project"
done
if ! report=$(node --test --test-reporter=spec client/tests/*.test.js); then
    printf '%s\n' "$report" >&2
    exit 1
fi

cd ..
files=(web crates/openapi/page tests/tests/e2e/client docs/examples)
web/node_modules/.bin/prettier --config web/.prettierrc.json --ignore-path web/.prettierignore --log-level warn \
    --check "${files[@]}"
web/node_modules/.bin/eslint --config web/eslint.config.js "${files[@]}"
