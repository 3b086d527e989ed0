# make run    the guarded door in front of a recorded real API, on loopback
# make test   everything that every change must pass
# make help   all of them
SHELL := /bin/bash
GO    ?= go
export CGO_ENABLED ?= 1

.PHONY: help run test test-full bench lab soak fuzz lint ui build clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## bin/sallyport, without Node: the built console is in the repository
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/sallyport ./cmd/sallyport

run: build ## start the API, the gateway in front of it and a player of recorded requests and attacks
	@$(GO) build -o bin/lab ./test/lab/demo
	@bin/lab -sallyport bin/sallyport -dir .cache/run

test: ## install what the tests need, then vet and test everything, the browser included
	@test/setup.sh test
	$(GO) vet ./...
	$(GO) test -timeout 15m ./...
	@test/browser.sh

test-full: test ## the same with the race detector on the packages that share memory
	$(GO) test -race -timeout 30m . ./cmd/... ./guard/... ./gateway/... ./identity/... ./observe/... ./store/... ./discovery/... ./inventory/... ./spec/...
	@test/setup.sh dex
	$(GO) test -count 1 -tags full -timeout 10m ./test/integration/dex
	@test/setup.sh pocketbase
	$(GO) test -count 1 -tags full -timeout 10m ./test/integration/pocketbase
	@test/setup.sh kube
	$(GO) test -count 1 -tags full -timeout 10m ./test/integration/kube

bench: build ## CPU, memory and time beside nginx, Coraza with the Core Rule Set and others
	@test/setup.sh bench
	@test/bench/run.sh

lab: build ## accuracy of detection and validation, with intervals; kill -9 under load
	@test/setup.sh test
	@test/lab/run.sh

soak: build ## an hour of load: memory and descriptors must stay flat (MINUTES=60)
	@test/setup.sh bench
	@$(GO) run ./test/lab/soak -sallyport bin/sallyport -minutes $${MINUTES:-60}

fuzz: ## each fuzz test for a while (FUZZTIME=60s)
	@test/fuzz.sh $${FUZZTIME:-60s}

lint: ## formatting, vet and, where it can be installed, staticcheck
	@test/lint.sh

ui: ## build the console's pages from their sources into console/ui/dist (needs Node 20 or later)
	cd console/ui && npm ci --no-audit --no-fund && npm run build

clean: ## remove what make made
	rm -rf bin .cache
