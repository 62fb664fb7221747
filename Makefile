# Targets for users and developers. A fresh machine needs Python 3.11 or newer, make and git; Node comes from PyPI.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
SCANNER := .venv-scanner
ANSIBLE := .venv-ansible
BENCH_TORCHTITAN := .venv-bench-torchtitan
BIN := $(VENV)/bin
# Our programs first: jsii and the CDK CLI find Node 24 here, whatever the machine has.
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)
# Images of containers set it, and then each of the thousands of processes that tests start compiles what it imports.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Set-up takes minutes, so pip shows what it installs.
PIP_SHOWN := $(BIN)/python -m pip install --disable-pip-version-check
NEWS := { grep --line-buffered --invert-match '^Requirement already satisfied' || true; }
# TRAINFORGE_CONFIG names a configuration for cdk and trainforge, and so for these targets.
CONFIG ?= $(or $(TRAINFORGE_CONFIG),config/default.yaml)
# Number of parallel test processes: one more than there are cores, because many tests wait, and 8 at most.
# WORKERS=0 runs all tests in pytest's own process, as -s does.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# One thread per operation of torch: more would wait for each other where tests share the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8

.PHONY: help setup setup-dev setup-train peers bench-torchtitan demo test collect lock synth check lint format bench bench-gpu manifests pictures snapshots machine-images machine-image machine-images-tools record-downloads clean

help: ## list the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):[^#]*## /\1\t/' | expand -t 12

# What users need to check, deploy and run; no test tools.
setup: $(VENV)/.complete node_modules/.complete ## install what users need: virtual environment, requirements, Node, the pinned CDK CLI

setup-dev: setup $(VENV)/.complete-dev ## install what tests and checks need too

# Everything that the application needs comes from the lock, by hash.
$(VENV)/.complete: requirements.lock requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "trainforge needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	@echo "set-up 1/3: the virtual environment $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "set-up 2/3: aws-cdk-lib, boto3, pydantic, Node 24 and what they need (requirements.lock), into $(VENV)"
	@$(PIP_SHOWN) --require-hashes --requirement requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

node_modules/.complete: package.json package-lock.json $(VENV)/.complete
	@echo "set-up 3/3: the CDK CLI (package-lock.json), into node_modules"
	@$(BIN)/npm ci --silent --ignore-scripts
	@touch $@
	@echo "set-up is complete: 'source $(VENV)/bin/activate', then 'trainforge --help' and 'npx cdk --help'"

# The emulator that the demo deploys to: two packages of those that tests need.
$(VENV)/.complete-emulator: requirements-emulator.txt $(VENV)/.complete
	@echo "demo: the AWS emulator, moto and cfn-lint (requirements-emulator.txt), into $(VENV)"
	@$(PIP_SHOWN) --no-build-isolation --requirement requirements-emulator.txt | $(NEWS)
	@touch $@

$(VENV)/.complete-dev: requirements-dev.txt requirements-emulator.txt $(VENV)/.complete
	@echo "set-up for tests: pytest's plugins, linters, the emulator, the AWS CLI (requirements-dev.txt), into $(VENV)"
	@$(PIP_SHOWN) --no-build-isolation --requirement requirements-dev.txt | $(NEWS)
	@$(BIN)/python tests/shebang.py $(VENV)
	@touch $@ $(VENV)/.complete-emulator

setup-train: setup $(VENV)/.complete-train ## install torch too, for runs on this machine and for training tests

$(VENV)/.complete-train: requirements-train.txt workloads/fsdp/requirements.txt $(VENV)/.complete
	@echo "set-up for training here: torch (requirements-train.txt), into $(VENV)"
	@$(PIP_SHOWN) --requirement requirements-train.txt | $(NEWS)
	touch $@

peers: $(PEERS)/.complete $(SCANNER)/.complete ## install ParallelCluster's CLI and a security scanner for tests/peers, each in its own environment

# An environment of its own: by uv, a tenth of pip's time, where set-up for tests has it, and else by pip.
define ENVIRONMENT
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	{ test -x $(BIN)/uv && $(BIN)/uv pip install --quiet --python $(1)/bin/python --requirement $(2); } \
	  || $(1)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(2)
endef

$(PEERS)/.complete: requirements-peers.txt
	$(call ENVIRONMENT,$(PEERS),requirements-peers.txt)
	touch $@

$(SCANNER)/.complete: requirements-scanner.txt
	$(call ENVIRONMENT,$(SCANNER),requirements-scanner.txt)
	$(SCANNER)/bin/python tests/shebang.py $(SCANNER)
	touch $@

machine-images-tools: $(ANSIBLE)/.complete ## install Ansible and its linter, in their own environment

$(ANSIBLE)/.complete: requirements-ansible.txt
	$(call ENVIRONMENT,$(ANSIBLE),requirements-ansible.txt)
	touch $@

bench-torchtitan: $(BENCH_TORCHTITAN)/.complete ## install the torchtitan that bench-gpu compares with, in its own environment

$(BENCH_TORCHTITAN)/.complete: requirements-torchtitan.txt
	test -x $(BENCH_TORCHTITAN)/bin/python || $(PYTHON) -m venv $(BENCH_TORCHTITAN)
	$(BENCH_TORCHTITAN)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-torchtitan.txt
	touch $@

env-%: setup-train ## install a workload's own environment, .venv-NAME, for local runs: make env-torchtitan
	$(BIN)/python -m workloads.local_environment $*

# With the programs of a Kubernetes control plane, a job runs on the emulated EKS cluster: it needs the AWS CLI and torch.
demo: setup $(VENV)/.complete-emulator $(if $(KUBEBUILDER_ASSETS),setup-dev setup-train) ## deploy CONFIG to the AWS emulator with the real CDK CLI, update it, destroy it
	$(BIN)/python -m tests.demo --config $(CONFIG)

test: setup-dev ## run all tests but the heavy ones; PYTEST_ARGS=--all runs everything
	$(PYTEST) . $(PYTEST_ARGS)

collect: setup-dev ## find all tests and run none: whether every module of tests can be imported
	$(BIN)/python -m pytest . --all --collect-only --quiet --quiet --snapshot-disable-unused --numprocesses 0 | tail --lines=20

lock: setup-dev ## update requirements.lock and that of Ansible on images; review the diff
	grep -v '^-e' requirements.txt | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-emit-index-url --custom-compile-command 'make lock' --output-file requirements.lock -
	grep '^ansible-core' requirements-ansible.txt | $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	  --only-binary :all: --no-annotate --no-emit-index-url --custom-compile-command 'make lock' \
	  --output-file machine_images/requirements.lock -

synth: setup ## synthesize all stacks of CONFIG (default: config/default.yaml) into cdk.out
	cdk synth --quiet --context config=$(CONFIG)

check: lint ## check format, lint and types, and run the fast tests
	$(PYTEST) tests/unit $(PYTEST_ARGS)

lint: setup-dev ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	for program in workloads/*/train.py workloads/*/download.py workloads/*/preprocess.py; do MYPYPATH=$$(dirname $$program):workloads/fsdp $(BIN)/mypy $$program || exit 1; done
	$(BIN)/trainforge render --check
	$(BIN)/python -m machine_images check

format: setup-dev ## format the code and fix what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-dev ## measure speed on this machine; BENCH_ARGS="--write docs/performance.md" updates the table
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

bench-gpu: setup-train bench-torchtitan ## the workload fsdp beside torchtitan on the GPUs here; BENCH_ARGS="--device cpu" tries it out
	$(BIN)/python -m tests.bench.gpus $(BENCH_ARGS)

manifests: setup-dev ## update the committed manifests of all workloads, and the tables of their proofs and launchers
	$(BIN)/trainforge render --write

machine-images: setup ## update the lock and the Packer templates in machine_images/ from the catalog
	$(BIN)/python -m machine_images write

# PACKER_ARGS has the variables: PACKER_ARGS="-var region=us-west-2 -var subnet_id=subnet-0 -var iam_instance_profile=NAME"
machine-image: setup machine-images-tools ## build a machine image with Packer: make machine-image NAME=eks-gpu PACKER_ARGS="-only='*.amazon-linux' -var region=..."
	$(BIN)/python -m machine_images name "$(NAME)"
	$(BIN)/python -m machine_images payload
	packer init machine_images/packer/$(NAME).pkr.json
	PATH="$(abspath $(ANSIBLE))/bin:$$PATH" packer build $(PACKER_ARGS) machine_images/packer/$(NAME).pkr.json

record-downloads: setup ## record the SHA-256 of what machine images download; takes internet access, review the diff
	$(BIN)/python -m machine_images record
	$(BIN)/python -m machine_images write

pictures: setup-dev ## update docs/pictures; those of dashboards need prometheus and chromium
	$(BIN)/python -m docs.pictures
	$(BIN)/python -m docs.pictures.dashboards

snapshots: setup-dev ## update the snapshots of the synthesized templates; review the diff
	$(BIN)/python -m pytest tests/snapshot --snapshot-update

clean: ## remove what was made here: environment, Node modules, caches, assemblies
	rm -rf $(VENV) .venv-* node_modules cdk.out .artifacts .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
