#!/usr/bin/env bash
# Runs each fuzz test of the module for the time given.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp); trap 'rm -f "$log"' EXIT
failed=0
while read -r file; do
  for name in $(grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/func //'); do
    echo "== $name ($(dirname "$file"))"
    go test "./$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "${1:-60s}" 2>&1 | tee "$log" | tail -2 && continue
    # The go command may end a run on time with this message and no input: nothing was found.
    if grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"; then continue; fi
    cat "$log"; failed=1
  done
done < <(grep -rlE '^func Fuzz' --include='*_test.go' . | grep -v node_modules)
exit $failed
