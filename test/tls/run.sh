#!/usr/bin/env bash
# What testssl.sh and sslscan say of our listener, as docs/tls-report.md: test/tls/run.sh [report]; about a minute and a half.
# Fails when something at or above medium is not in test/tls/accepted.txt, which has the reasons.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD report=${1:-docs/tls-report.md} dir=$(mktemp -d)
pids=()
stop() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; wait "$p" 2>/dev/null || true; done; rm -rf "$dir"; }
trap stop EXIT

[ -x bin/sallyport ] || make -s build
cp -r examples/tls/. "$dir"; cd "$dir"
port=$(( 20000 + RANDOM % 10000 )); ocsp=$(( port + 1 )) console=$(( port + 2 ))
mkdir -p certs && cd certs
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=Example authority' -keyout ca.key -out ca.crt 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pets.example.test -keyout door.key -out door.csr 2>/dev/null
printf 'subjectAltName=DNS:pets.example.test,DNS:strays.example.test\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nauthorityInfoAccess=OCSP;URI:http://127.0.0.1:%s\n' "$ocsp" > door.ext
openssl x509 -req -in door.csr -CA ca.crt -CAkey ca.key -set_serial 0x1f2e3d4c5b6a79881001 -days 80 -extfile door.ext -out door.crt 2>/dev/null
cat ca.crt >> door.crt # who has issued it must be known for its OCSP answer
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=gateway -keyout gateway.key -out gateway.csr 2>/dev/null
printf 'extendedKeyUsage=clientAuth\n' > gateway.ext
openssl x509 -req -in gateway.csr -CA ca.crt -CAkey ca.key -set_serial 0x1f2e3d4c5b6a79881002 -days 80 -extfile gateway.ext -out gateway.crt 2>/dev/null
chmod 600 ./*.key
printf 'V\t351231235959Z\t\t1F2E3D4C5B6A79881001\tunknown\t/CN=pets.example.test\n' > index.txt
openssl ocsp -port "$ocsp" -nmin 60 -index index.txt -CA ca.crt -rsigner ca.crt -rkey ca.key >ocsp.log 2>&1 & pids+=($!)
cd ..
sed -i "s/127.0.0.1:8449/127.0.0.1:$port/; s/127.0.0.1:9449/127.0.0.1:$console/; s/^  client_ca:.*//" sallyport.yaml
"$root/bin/sallyport" run --config sallyport.yaml >sallyport.log 2>&1 & pids+=($!)
for _ in $(seq 100); do
  curl -s -o /dev/null --cacert certs/ca.crt --cert-status --connect-to "pets.example.test:$port:127.0.0.1:$port" "https://pets.example.test:$port/" && break
  kill -0 "${pids[1]}" 2>/dev/null || { cat sallyport.log >&2; exit 1; }
  sleep 0.2
done

testssl=$(command -v testssl || command -v testssl.sh)
"$testssl" --version 2>/dev/null | sed 's/\x1b\[[0-9;]*m//g' | grep -oE 'testssl(.sh)? +[0-9.]+' | head -1 | tr -s ' ' > version
"$testssl" --quiet --color 0 --warnings off --ip 127.0.0.1 --add-ca certs/ca.crt --jsonfile rows.json "https://pets.example.test:$port/" >testssl.log 2>&1 || true
sslscan --no-colour --sni-name=pets.example.test --connect-timeout=5 127.0.0.1:"$port" > sslscan.log
(cd "$root" && go run ./test/tls -rows "$dir/rows.json" -sslscan "$dir/sslscan.log" -version "$(cat "$dir/version")" -accepted test/tls/accepted.txt) > report.md || { cat report.md >&2; exit 1; }
cd "$root" && cp "$dir/report.md" "$report"
grep '^Not accepted' "$report"
