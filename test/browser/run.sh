#!/usr/bin/env bash
# The console in a real browser: serves it over an invented estate, and drives
# Debian's Chromium through it.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --no-audit --no-fund --ignore-scripts --silent
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
(cd ../.. && "${GO:-go}" build -o "$build/browser" ./test/browser)
node console.mjs "$build/browser"
