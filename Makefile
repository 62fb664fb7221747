# Everything starts here. A fresh machine needs Python 3.11 or newer, make and git; Node comes from PyPI.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
SCANNER := .venv-scanner
TORCHTITAN := .venv-torchtitan
BIN := $(VENV)/bin
# Our programs first: jsii and the CDK CLI find Node 24 here, whatever the machine has.
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CONFIG ?= config/default.yaml
# Processes in which tests run beside each other: one a core, at most 8. WORKERS=0 runs them in pytest's own, as -s does.
WORKERS ?= logical
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8

.PHONY: help setup setup-train peers torchtitan demo test lock synth check lint format bench bench-gpu manifests pictures snapshots clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

setup: $(VENV)/.complete node_modules/.complete ## virtual environment, requirements, Node, the pinned CDK CLI

# Everything that the application needs comes from the lock, by hash; tests and checks are pinned beside it.
$(VENV)/.complete: requirements.lock requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "trainforge needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements.lock
	$(PIP) --no-build-isolation --no-deps --editable .
	$(PIP) --no-build-isolation --requirement requirements-dev.txt
	touch $@

node_modules/.complete: package.json package-lock.json $(VENV)/.complete
	$(BIN)/npm ci --silent --ignore-scripts
	touch $@

setup-train: $(VENV)/.complete-train ## torch beside it, for runs on this machine and the training tests

$(VENV)/.complete-train: requirements-train.txt workloads/fsdp/requirements.txt $(VENV)/.complete
	$(PIP) --requirement requirements-train.txt
	touch $@

peers: $(PEERS)/.complete $(SCANNER)/.complete ## ParallelCluster's own CLI and a security scanner, each in an environment of its own, for tests/peers

$(PEERS)/.complete: requirements-peers.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-peers.txt
	touch $@

$(SCANNER)/.complete: requirements-scanner.txt
	test -x $(SCANNER)/bin/python || $(PYTHON) -m venv $(SCANNER)
	$(SCANNER)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-scanner.txt
	touch $@

torchtitan: $(TORCHTITAN)/.complete ## torchtitan in an environment of its own, for bench-gpu

$(TORCHTITAN)/.complete: requirements-torchtitan.txt
	test -x $(TORCHTITAN)/bin/python || $(PYTHON) -m venv $(TORCHTITAN)
	$(TORCHTITAN)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-torchtitan.txt
	touch $@

demo: setup ## deploy the default configuration to the embedded AWS emulator with the real CDK CLI, and destroy it
	$(BIN)/python -m tests.emulator.demo --config $(CONFIG)

test: setup ## all tests but the heavy ones (pytest .); PYTEST_ARGS=--all runs everything
	$(PYTEST) . $(PYTEST_ARGS)

lock: setup ## write requirements.lock anew from requirements.txt; review the diff
	grep -v '^-e' requirements.txt | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-emit-index-url --custom-compile-command 'make lock' --output-file requirements.lock -

synth: setup ## synthesize all stacks of CONFIG (config/default.yaml) into cdk.out
	cdk synth --quiet --context config=$(CONFIG)

check: lint ## format, lint, types and the fast tests
	$(PYTEST) tests/unit $(PYTEST_ARGS)

lint: setup ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/trainforge render --check

format: setup ## format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure speed here; BENCH_ARGS="--write docs/performance.md" keeps the table
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

bench-gpu: setup-train torchtitan ## the room fsdp beside torchtitan on the GPUs here; BENCH_ARGS="--device cpu" tries it out
	$(BIN)/python -m tests.bench.gpus $(BENCH_ARGS)

manifests: setup ## write the committed manifests of all workloads anew
	$(BIN)/trainforge render --write

pictures: setup ## draw docs/pictures anew
	$(BIN)/python -m docs.pictures

snapshots: setup ## write the snapshots of the synthesized templates anew; review the diff
	$(BIN)/python -m pytest tests/snapshot --snapshot-update

clean: ## remove what was made here: environment, Node modules, caches, assemblies
	rm -rf $(VENV) $(PEERS) $(SCANNER) $(TORCHTITAN) node_modules cdk.out .artifacts .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
