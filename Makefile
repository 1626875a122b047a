# Every target installs what it needs into the work tree (.venv, node_modules, .build) and nowhere else.

PYTHON ?= python3
VENV := .venv/bin
BIN := $(VENV)/python
NPM := $(shell command -v npm 2>/dev/null)
UV_VERSION := 0.13.9
# The local AWS is a package of its own; here it runs from its sources.
export PYTHONPATH := $(CURDIR)/local_aws/src
# Fills a folder once, however many makes ask for it; leaves a folder alone that is a link.
ONCE := tests/harness/once.py
UV := { test -x .build/uv/bin/uv || { $(BIN) -m venv .build/uv && .build/uv/bin/python -m pip install --quiet uv==$(UV_VERSION); }; }

.DEFAULT_GOAL := help
.PHONY: help demo local-aws check test explore mutants chaos corpora examples confirm-on-aws docs lint security format pictures package parquet-layer check-package lock clean terraform
.DELETE_ON_ERROR:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.ready terraform ## apply the module to a local AWS and run a real corpus through it (KEEP=1 leaves it running)
	@KEEP="$(KEEP)" $(BIN) -m demo

local-aws: .venv/.ready ## start a local AWS and print how to point a shell at it (ARGS="--help" shows its options)
	@$(BIN) -m local_aws $(ARGS)

check: .venv/.ready ## what to run before each commit, in a minute: ruff, mypy, imports, quick rules, unit tests of what changed
	@$(BIN) -m tests.harness.check

test: .venv/.ready terraform check-package $(if $(NPM),node_modules/.ready) ## run every suite (SUITES="unit emulator" chooses; ARGS go to pytest)
	@$(BIN) -m tests.harness.suites $(SUITES) $(if $(ARGS),-- $(ARGS))

explore: .venv/.ready ## two workers at once, one struck at each of its effects: every interleaving, a quarter of an hour (ARGS="collect", or one's name, replays)
	@$(BIN) -W ignore -m tests.explorer $(ARGS)

mutants: .build/mutants/.ready ## change the core line by line and see the unit tests fail; names what survives (half an hour; no part of make test)
	@.build/mutants/bin/python -m tests.harness.mutants $(ARGS)

chaos: .venv/.ready terraform check-package ## play every fault against whole runs; writes docs/chaos.md (ARGS="claim sync" chooses rows)
	@$(BIN) -m tests.chaos $(if $(ARGS),$(ARGS),--write docs/chaos.md)

corpora: .venv/.ready terraform check-package ## real documents and e-mails through the module on a local AWS (needs npm; ten minutes)
	@$(BIN) -m tests.corpora

examples: .venv/.ready terraform check-package ## apply and destroy every example on a local AWS (make test applies two of them and plans all)
	@$(BIN) -m pytest tests/examples -q -n 0 --every-example $(ARGS)

confirm-on-aws: .venv/.ready ## ask a real account what is open in docs/unconfirmed.md; dry without YES=1 (ACCOUNT=… ONLY="token name")
	@test -n "$(ACCOUNT)" || { echo 'Name the account: make confirm-on-aws ACCOUNT=123456789012 (dry: it makes nothing without YES=1).'; exit 1; }
	@$(BIN) -m tests.confirm --account "$(ACCOUNT)" $(if $(filter 1,$(YES)),--yes) \
		$(if $(SUBNETS),--subnets $(SUBNETS)) $(if $(SECURITY_GROUPS),--security-groups $(SECURITY_GROUPS)) -- $(ONLY)

lint: .venv/.ready terraform $(if $(NPM),node_modules/.ready) ## check code, state machines and HCL
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy
	PYTHONPATH=lambdas:. $(VENV)/lint-imports --no-cache
	$(BIN) -m tests.lint

security: .build/checkov/.ready ## check the HCL with checkov, which has a venv of its own (.checkov.yaml holds what is skipped, and why)
	.build/checkov/bin/checkov --config-file .checkov.yaml

format: .venv/.ready terraform ## let ruff and Terraform rewrite the sources
	$(VENV)/ruff check --fix
	$(VENV)/ruff format
	tests/harness/terraform.sh fmt -recursive

pictures: .venv/.ready node_modules/.ready ## draw docs/pictures from asl/ and its DOT files (needs npm)
	@$(BIN) -m docs.pictures.draw

docs: .venv/.ready ## write the tables of inputs and outputs anew, from the HCL
	@$(BIN) -m tests.lint.tables

package: .venv/.ready ## rebuild lambdas/dist from the sources and the lock file
	@$(BIN) lambdas/build.py

parquet-layer: .venv/.ready ## build the optional layer for Parquet into .build (PYTHON_VERSION=3.13 ARCHITECTURE=arm64)
	@$(BIN) lambdas/parquet_layer.py $(if $(PYTHON_VERSION),--python $(PYTHON_VERSION)) $(if $(ARCHITECTURE),--architecture $(ARCHITECTURE))

check-package: .venv/.ready ## prove that lambdas/dist equals the sources
	@$(BIN) lambdas/build.py --check

lock: .venv/.ready ## resolve requirements/*.in again into the hash-locked *.txt
	@echo "Resolving requirements with uv $(UV_VERSION), kept in .build/uv."
	@$(UV)
	@cd requirements && for name in bundle parquet dev security mutants; do \
		../.build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--default-index https://pypi.org/simple --custom-compile-command "make lock" $(ARGS) $$name.in -o $$name.txt || exit 1; \
	done

clean: ## remove everything that the other targets put here
	rm -rf .venv node_modules .build local_aws/build local_aws/src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name .terraform -type d -prune -exec rm -rf {} +
	find . -name .terraform.lock.hcl -type f -delete

terraform:
	@tests/harness/terraform.sh version > /dev/null

.venv/.ready: requirements/dev.txt
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is missing: install Python 3.11, 3.12 or 3.13 (https://www.python.org/downloads/), or name one: make PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { echo "$$($(PYTHON) --version) does not fit: this needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.13."; exit 1; }
	@$(PYTHON) $(ONCE) .venv $< '$(PYTHON) -m venv --clear .venv && \
		$(BIN) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<'

node_modules/.ready: package-lock.json
	@$(PYTHON) $(ONCE) node_modules $< 'npm ci --ignore-scripts --no-audit --no-fund --loglevel=error'

.build/checkov/.ready: requirements/security.txt .venv/.ready
	@$(PYTHON) $(ONCE) .build/checkov $< '$(UV) && .build/uv/bin/uv venv --quiet --clear --python $(BIN) .build/checkov && \
		.build/uv/bin/uv pip install --quiet --python .build/checkov/bin/python --require-hashes --requirement $<'

.build/mutants/.ready: requirements/mutants.txt .venv/.ready
	@$(PYTHON) $(ONCE) .build/mutants $< '$(UV) && .build/uv/bin/uv venv --quiet --clear --python $(BIN) .build/mutants && \
		.build/uv/bin/uv pip install --quiet --python .build/mutants/bin/python --require-hashes --requirement $<'
