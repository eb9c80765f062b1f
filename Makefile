# The daily loop. `make help` lists it.
# Everything here uses the dev profile: one build serves the demo and the tests, and it compiles in a quarter of the time that
# an optimized one takes. `make release` and `make bench` optimize.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A uv that we install lands here; one in PATH wins.
export PATH := $(PATH):$(CURDIR)/.cache/tools/bin

.PHONY: help build dashboard release check deny fmt lint test test-rust test-python demo bench bench-gateway bench-access bench-cold bench-reload bench-soak bench-unload bench-control-plane bench-rollout openapi clean tools-demo tools-test

# The dashboard, built by npm; Cargo puts it inside the program.
PAGES := dashboard/dist/index.html
MODULES := dashboard/node_modules/.package-lock.json

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(PAGES) ## Build greenroom and greenroom-replica, with the dashboard inside
	cargo build --locked --bins

release: $(PAGES) ## Build both optimized, into target/release
	cargo build --locked --bins --release

check: ## Type-check everything, tests included
	cargo check --locked --workspace --all-targets

deny: ## Check licences, banned crates and sources of all dependencies
	@scripts/install-tools.sh deny
	cargo fetch --locked
	cargo deny --offline --locked check licenses bans sources

fmt: ## Format the code
	cargo fmt --all

$(MODULES): dashboard/package-lock.json
	@scripts/install-tools.sh node
	npm --prefix dashboard ci --silent
	@touch $@

$(PAGES): $(MODULES) openapi/v1.json $(shell find dashboard/src dashboard/public -type f -not -name schema.d.ts) $(wildcard dashboard/*.*)
	npm --prefix dashboard run --silent build

dashboard: $(PAGES) ## Build the dashboard

lint: $(MODULES) ## Check formatting, lints, and the dashboard's types against the API
	npm --prefix dashboard run --silent check
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

test: tools-test lint test-python test-rust ## Install what the tests need and run all of them

test-python:
	python3 -m compileall -q python examples bench

test-rust: $(PAGES)
	cargo nextest run --locked --workspace --no-fail-fast

demo: tools-demo build ## Start a server, push examples/iris, predict; Ctrl-C ends it (DEMO_ONCE=1: ends by itself)
	@scripts/demo.sh

bench: tools-demo ## Measure against the reference server, LitServe, BentoML, Ray Serve and FastAPI (many minutes; see docs/benchmarks.md)
	cargo build --locked --workspace --bins --release
	python3 bench/run.py

bench-gateway: tools-demo ## Measure the gateway alone beside nginx and haproxy, to one upstream
	@scripts/install-tools.sh proxies
	cargo build --locked --workspace --bins --release
	python3 bench/gateway.py

bench-access: tools-demo ## Measure what keys, their limits and policies add to a request, and what placement costs
	cargo build --locked --workspace --bins --release
	python3 bench/access.py

bench-cold: tools-demo ## Measure the start of a model that was scaled to zero, with and without a standby, beside `python3 -c pass`
	cargo build --locked --workspace --bins --release
	python3 bench/cold_start.py

bench-reload: tools-demo ## Measure live reload: from a saved file to the new answer
	cargo build --locked --workspace --bins --release
	python3 bench/reload.py

bench-soak: tools-demo ## Ask at fixed times for ten minutes while a deployment scales up and down, and print failures and memory
	cargo build --locked --workspace --bins --release
	python3 bench/soak.py

bench-unload: tools-demo ## Load and unload a model a thousand times, and print what memory is left in use
	cargo build --locked --workspace --bins --release
	python3 bench/unload.py

bench-control-plane: ## Measure how long a change takes to reach the gateway among 100, 1,000 and 10,000 deployments, and what doing nothing costs
	cargo bench --locked --bench control-plane --no-run
	@echo "| deployments | up, s | change p50, ms | p99 | longest | at rest, % of a core | memory, MiB |"
	@echo "|---|---|---|---|---|---|---|"
	@for models in 10 100 1000; do cargo bench --quiet --locked --bench control-plane -- --models $$models; done

SECONDS ?= 60
bench-rollout: tools-demo ## Promote again and again under load, and print what callers notice (SECONDS=60: for so long)
	cargo bench --locked --bench rollout -- --seconds $(SECONDS)

openapi: ## Write openapi/v1.json from the code
	cargo build --locked --bins
	target/debug/greenroom openapi > target/openapi.json
	mv target/openapi.json openapi/v1.json

clean: ## Remove what was built, the demo's data and the tools of .cache
	cargo clean
	rm -rf .greenroom .cache dashboard/dist dashboard/node_modules

tools-demo:
	@scripts/install-tools.sh uv

tools-test:
	@scripts/install-tools.sh uv node nextest postgresql prometheus chromium
