#!/usr/bin/env bash
# Installs the Debian packages that a target needs and that are missing, and says which and why.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A why=(
  [postgresql]="the system of record beyond one machine" [redis-server]="counts limits for several nodes" [nginx-light]="the peer that costs are compared with, and that asks at our door"
  [apache2]="writes logs that are read as a source"
  [chromium]="the console is tested in a browser" [wrk]="makes load"
  [libxml2-utils]="xmllint, the judge of XML Schema"
  [libnginx-mod-http-js]="nginx sends bodies to our door" [haproxy]="asks at our door by SPOE" [caddy]="asks at our door by forward_auth" [squid]="asks at our door by ICAP"
  [openssl]="issues certificates, answers OCSP and serves TLS in tests" [curl]="asks as the guides do" [sslscan]="looks for what is out of date in our TLS"
  [apache2-bin]="a scan has to find it" [etcd-server]="holds the DNS records that the gate writes, and a scan has to find it" [slapd]="a scan has to find it" [prometheus]="a scan has to find it" [prometheus-node-exporter]="a scan has to find it" [lighttpd]="a scan has to find it" [docker-registry]="a scan has to find it" [radicale]="a scan has to find it"
  [testssl.sh]="looks for what is weak in our TLS" [bsdextrautils]="hexdump, which testssl.sh wants"
)
if [ "${1:-test}" = dex ]; then # the second OpenID provider that tokens are taken from, built from its module (cgo: gcc)
  [ -x .cache/bin/dex ] && exit 0
  echo "building Dex: the second OpenID provider that sallyport is tried against (minutes, once)"
  mkdir -p .cache/dex .cache/bin && cd .cache/dex
  [ -e go.mod ] || go mod init tool # a module of its own: none of what Dex needs is ours
  go get -tool github.com/dexidp/dex/cmd/dex@v0.0.0-20260303133905-11d2eeb52b42
  go build -o ../bin/dex github.com/dexidp/dex/cmd/dex
  exit 0
fi
if [ "${1:-test}" = pocketbase ]; then # a server that nobody here wrote, which the conformance tests are tried on, built from its module
  [ -x .cache/bin/pocketbase ] && exit 0
  echo "building PocketBase: the server of others that sallyport check is tried on (a minute, once)"
  mkdir -p .cache/pocketbase .cache/bin && cd .cache/pocketbase
  [ -e go.mod ] || go mod init tool # a module of its own: none of what PocketBase needs is ours
  go get -tool github.com/pocketbase/pocketbase/examples/base@v0.36.8
  go build -o ../bin/pocketbase github.com/pocketbase/pocketbase/examples/base
  exit 0
fi
if [ "${1:-test}" = kube ]; then # a Kubernetes API server, built from its module, which keeps what it has in Debian's etcd
  command -v etcd >/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends etcd-server >/dev/null; }
  [ -x .cache/bin/kube-apiserver ] && exit 0
  echo "building kube-apiserver: the cluster that catalogues are read from (a quarter of an hour, once)"
  mkdir -p .cache/kube .cache/bin && cp test/integration/kube/apiserver.mod .cache/kube/go.mod && cd .cache/kube
  printf '//go:build tools\n\npackage tools\n\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver"\n' > tools.go
  go mod tidy
  go build -ldflags '-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4' -o ../bin/kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
  exit 0
fi
case "${1:-test}" in
  test) need=(postgresql redis-server chromium libxml2-utils openssl curl sslscan nginx-light libnginx-mod-http-js haproxy caddy squid apache2 etcd-server) ;;
  bench) need=(nginx-light wrk) ;;
  tls) need=(testssl.sh sslscan bsdextrautils openssl curl) ;;
  estate) need=(nginx-light apache2-bin squid etcd-server slapd redis-server haproxy caddy prometheus prometheus-node-exporter lighttpd docker-registry radicale iproute2) ;; # servers that a scan has to find
  *) echo "usage: test/setup.sh test|bench|tls|estate|dex|kube|pocketbase" >&2; exit 2 ;;
esac

missing=()
for p in "${need[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

for p in "${missing[@]}"; do echo "installing $p: ${why[$p]}"; done
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "this needs root on Debian; elsewhere install by hand: ${missing[*]} (and Node 20 or later)" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The packages would start servers of their own; the tests start theirs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
