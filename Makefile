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
.PHONY: help setup demo serve test check sbom audit verify-install release bench bench-trust bench-recovery bench-artifacts bench-api fuzz lock clean

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

check: $(DEV_READY) ## format, lint, types, import contracts, secrets, image, workflows, tests with branch coverage >= 90 %
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy .ci/*.py
	$(BIN)/lint-imports
	$(BIN)/python .ci/find_secrets.py
	$(BIN)/python .ci/containerfile.py Containerfile
	$(BIN)/zizmor --offline --no-progress --persona auditor .github/workflows
	$(BIN)/python -m pytest -n 2 -q --cov --cov-branch --cov-report=term

sbom: $(DEV_READY) ## write what the run-time environment is made of, as CycloneDX, to var/sbom.cdx.json
	@mkdir -p var
	env -u SOURCE_DATE_EPOCH PYTHONWARNINGS=ignore::UserWarning $(BIN)/cyclonedx-py requirements requirements/run.txt \
		--pyproject pyproject.toml --output-reproducible --short-PURLs -o var/sbom.cdx.json

audit: $(DEV_READY) ## ask for known vulnerabilities; "not run" where nobody answers, a failure with RELEASE=1
	$(BIN)/python .ci/advisories.py $(if $(RELEASE),--release) requirements/run.txt

verify-install: $(DEV_READY) ## download the pinned wheels and hold every installed file against them
	@mkdir -p var
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps \
		-d var/wheels -r requirements/dev.txt
	$(BIN)/gridward verify-install --requirements requirements/dev.txt --wheels var/wheels

OUT ?= var/release
release: $(DEV_READY) ## build the commit twice, compare, sign in OUT (KEY=file.pem; without, with a key of no worth)
	$(BIN)/python .ci/release.py build --out $(OUT) $(if $(KEY),--key $(KEY))

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

bench-artifacts: $(RUN_READY) ## print what loading, swaps, accidents and kills of a release come to, against their bars (10 minutes)
	$(BIN)/python -m benchmarks.artifacts
	$(BIN)/python -m benchmarks.releases

bench-api: $(DEV_READY) ## print what the guarded service costs, withstands and gives away, against its bars (PostgreSQL, Redis; 60 minutes)
	$(BIN)/python -m benchmarks.api_load --json var/bench-api-load.json
	$(BIN)/python -m benchmarks.audit_log
	$(BIN)/python -m benchmarks.store_accidents
	$(BIN)/python -m benchmarks.api_fuzz --json var/bench-api-fuzz.json
	$(BIN)/python -m benchmarks.model_theft
	$(BIN)/python -m benchmarks.membership
	$(BIN)/python -m benchmarks.crafted_weather

fuzz: $(RUN_READY) ## spoil 5,000 bundles before a running server, and 2,000 model texts without signatures (20 minutes)
	$(BIN)/python -m benchmarks.fuzz_bundles
	$(BIN)/python -m benchmarks.fuzz_model_text

lock: $(DEV_READY) ## pin the requirements anew, with hashes and without any index address
	@# The tool that pins is not pinned: it stays out of the environment that is verified.
	$(PYTHON) -m venv --clear var/lock
	var/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	var/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" pyproject.toml requirements/build.in -o requirements/run.txt
	var/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" pyproject.toml requirements/build.in --group dev -c requirements/run.txt \
		-o requirements/dev.txt
	var/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
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
