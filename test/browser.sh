#!/usr/bin/env bash
# The console in a real browser; the packages are installed from the lockfile.
set -euo pipefail
cd "$(dirname "$0")/.."
exec test/browser/run.sh
