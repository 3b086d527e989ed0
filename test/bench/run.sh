#!/usr/bin/env bash
# Every measure that speed is claimed by, side by side with peers in one run.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOFLAGS=-count=1
echo "== the guard and its parts, per call (allocations beside), with Coraza and the Core Rule Set on the same requests"
go test ./guard/... ./spec/... ./observe ./test/bench -run '^$' -bench . -benchmem -benchtime "${BENCHTIME:-200ms}" | grep -E '^(Benchmark|pkg|ok|FAIL|---)'
echo
echo "== whole requests over loopback"
go build -o bin/bench ./test/bench
bin/bench -sallyport bin/sallyport -rounds "${ROUNDS:-5}" -seconds "${SECONDS_EACH:-4}"
