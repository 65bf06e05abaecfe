# Everything a person does here has a name; `make` alone lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready
# Other people's forecasters, only to be measured against: never in the environment that serves.
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.peers-ready
# The pins are the whole closure: nothing is left for pip to resolve, nor for a release of today to slip in.
PINNED := -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps
INSTALL := $(BIN)/python $(PINNED)

# Two test workers, two worlds: a thread each. More would only wait for one another.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check bench bench-trust bench-recovery lock clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*?## "} {printf "  make %-14s %s\n", $$1, $$2}'

setup: $(DEV_READY) ## install everything, run and development, at pinned hashes, into .venv

demo: $(RUN_READY) ## replay the 2014 incident on real demand; report in var/case-study/report.html
	$(BIN)/gridward case-study

serve: $(RUN_READY) ## train on the embedded data if nothing is there yet, then serve on 127.0.0.1:8420
	@test -e var/station/gridward.sqlite || $(BIN)/gridward train
	$(BIN)/gridward serve

test: $(DEV_READY) ## run every test
	$(BIN)/python -m pytest -n 2 -q

check: $(DEV_READY) ## format, lint, types, import contracts, tests with branch coverage >= 90 %
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 -q --cov --cov-branch --cov-report=term

bench: $(RUN_READY) $(PEERS_READY) ## print every figure the README quotes, and the peers' beside them
	$(BIN)/python -m benchmarks.accuracy
	$(BIN)/python -m benchmarks.peers_table

bench-trust: $(RUN_READY) ## print what the weather watch does under every lie, against its bars (25 minutes of two cores)
	$(BIN)/python -m benchmarks.trust --jobs 2 --json var/bench-trust.json

bench-recovery: $(RUN_READY) ## print what recovery, audit, certificate, kill -9 and the lake come to, against their bars (50 minutes)
	$(BIN)/python -m benchmarks.recovery
	$(BIN)/python -m benchmarks.audit_data --seeds 12 --first-seed 501
	$(BIN)/python -m benchmarks.certified
	$(BIN)/python -m benchmarks.kills
	$(BIN)/python -m benchmarks.lake

lock: $(DEV_READY) ## pin the requirements anew, with hashes and without any index address
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" pyproject.toml requirements/build.in -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" pyproject.toml requirements/build.in --group dev -c requirements/run.txt \
		-o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" requirements/peers.in -o requirements/peers.txt

clean: ## remove the virtual environments and everything that was produced
	rm -rf $(VENV) $(PEERS) var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage* *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Gridward needs Python 3.11 or newer; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(RUN_READY): $(VENV)/bin/python requirements/run.txt pyproject.toml
	$(INSTALL) -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check
	@touch $@

$(PEERS_READY): requirements/peers.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python $(PINNED) -r requirements/peers.txt
	@touch $@

$(DEV_READY): $(RUN_READY) requirements/dev.txt
	$(INSTALL) -r requirements/dev.txt
	@touch $@
