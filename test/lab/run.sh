#!/usr/bin/env bash
# The lab: accuracy of inspection beside Coraza, validation beside a second judge, the recorded traffic, kill -9, overload.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "== inspection: recall and refusals of genuine values, by class and place"
go run ./test/lab/inspect
echo "== the recorded requests through the whole guard"
go run ./test/lab/recorded
echo "== killed under load"
go run ./test/lab/kill -sallyport bin/sallyport -rounds "${ROUNDS:-20}"
echo "== more asked than the upstream can do; one costly caller"
go run ./test/lab/load -sallyport bin/sallyport
echo "== two hundred instances started, killed and replaced under load, a tenth of them with a defect"
go run ./test/lab/storm -sallyport bin/sallyport -instances "${INSTANCES:-200}"
echo "== what the guard adds to each door of other proxies"
go run ./test/lab/doors -sallyport bin/sallyport
echo "== TLS as testssl.sh and sslscan see it"
test/setup.sh tls
test/tls/run.sh .cache/tls-report.md
echo "== an estate of fifty hosts, scanned"
test/setup.sh estate
go build -o .cache/estate ./test/lab/estate && .cache/estate -sallyport bin/sallyport
