# Everything a contributor runs. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BENCH_VENV := .venv-bench
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(BENCH_VENV)/.ready
SOURCES := hub member_agent demo bench tests proto
COMPILE := $(BIN)/uv --quiet pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# Passed on by demo, test, bench and lock, as in: make test ARGS="-k merkle -x"
ARGS ?=

$(READY): requirements.lock requirements-uv.lock pyproject.toml scripts/env.sh
	@scripts/env.sh $(VENV) requirements.lock
	@touch $@

$(BENCH_READY): requirements-bench.lock requirements-uv.lock pyproject.toml scripts/env.sh
	@scripts/env.sh $(BENCH_VENV) requirements-bench.lock
	@touch $@

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: env
env: $(READY) ## set up .venv from the lock and print its versions
	@$(BIN)/python --version
	@$(BIN)/python -m pip --disable-pip-version-check list 2>/dev/null | \
		grep -iE '^(alliance-hub|cryptography|flwr|grpcio|numpy|pillow|protobuf|pyarrow|sqlalchemy|uv) '

.PHONY: demo
demo: $(READY) ## run a whole alliance on this machine; ARGS="--exit --data DIR --json FILE"
	@$(BIN)/alliance-hub demo $(ARGS)

.PHONY: services
services: ## install PostgreSQL's binaries and SoftHSM for the tests, where we may
	@scripts/services.sh

.PHONY: test
test: $(READY) services ## run the tests, on two processors where there are; ARGS go to pytest
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=2 --dist=loadfile --no-loadscope-reorder $(ARGS)

CHECKS := check-lock check-format check-lint check-types check-imports check-proto check-breaking check-stubs
.PHONY: check $(CHECKS)
check: $(CHECKS) ## everything but the tests; with -k, past the first failure
check-lock: $(READY)
	$(BIN)/uv --quiet pip check --python $(BIN)/python
check-format: $(READY)
	$(BIN)/ruff format --check .
check-lint: $(READY)
	$(BIN)/ruff check .
check-types: $(READY)
	$(BIN)/mypy
check-imports: $(READY)
	$(BIN)/lint-imports --no-logo --config .importlinter
check-proto: $(READY)
	$(BIN)/buf lint proto
check-breaking: $(READY)
	@scripts/breaking.sh
check-stubs: $(READY)
	@scripts/stubs.sh --check

.PHONY: format
format: $(READY) ## format the code and mend what ruff can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: stubs
stubs: $(READY) ## generate the stubs from the protos
	@scripts/stubs.sh

.PHONY: bench-env
bench-env: $(BENCH_READY) ## set up .venv-bench, with the peers that benchmarks compare with

.PHONY: bench
bench: $(BENCH_READY) ## run a benchmark beside its peers; NAME=titles ARGS=--quick; without NAME, list them
	@$(BENCH_VENV)/bin/python -m bench $(NAME) $(ARGS)

.PHONY: lock
lock: $(READY) ## pin the dependencies anew from pyproject.toml; ARGS=--upgrade for the newest
	$(COMPILE) pyproject.toml --extra dev $(ARGS) -o requirements.lock
	$(COMPILE) pyproject.toml --extra postgres $(ARGS) -o requirements-run.lock
	$(COMPILE) pyproject.toml requirements-bench.in --extra dev -c requirements.lock $(ARGS) -o requirements-bench.lock
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > requirements-uv.lock

.PHONY: clean
clean: ## remove caches and build outputs; the environments stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist demo.json
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
