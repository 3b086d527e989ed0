#!/usr/bin/env bash
# Runs each fuzz test of the module for the time given.
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do
  for name in $(grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/func //'); do
    echo "== $name ($(dirname "$file"))"
    go test "./$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "${1:-60s}"
  done
done
