# Everything a developer types. On a machine with Python 3.11 or later, pip and make, each target sets up what it needs.
#
# The environment is .venv, made once; the stamp files in it say what is installed, and a change of pyproject.toml
# installs anew. `make demo` needs only what a user needs; everything else needs the development tools too.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-fast check lint format types layers bench bench-peers clean

# The first of these that is 3.11 or later and runs (a version manager's shim may exist and not run).
CANDIDATES := python3 python python3.13 python3.12 python3.11 python3.14
IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for python in $(CANDIDATES); do \
	if $$python $(IS_NEW_ENOUGH) >/dev/null 2>&1; then echo $$python; break; fi; done)

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --editable
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --quiet -n $(WORKERS) --dist loadgroup

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed-lint ## make .venv with the development tools

demo: $(VENV)/.installed-examples ## run the flights example: a year of daily and hourly partitions of real data
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/flights/demo.sh

# Hundreds of commands start processes of their own, and where byte code is not written each would compile what it imports.
test: setup ## run every test
	@$(BIN)/python -m compileall -q assets_core cli io_managers partitions
	@$(PYTEST)

test-fast: setup ## run the tests that take less than a few seconds each
	@$(PYTEST) -m 'not slow'

check: lint types layers test ## what CI runs: lint, formatting, types, layers, every test

lint: setup ## ruff: rules and formatting
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check --diff .

format: setup ## let ruff repair what it can
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

types: setup ## mypy --strict over the packages, the example and the benchmarks
	@$(BIN)/mypy --no-error-summary
	@MYPYPATH=examples/flights:benchmarks $(BIN)/mypy --no-error-summary --explicit-package-bases examples/flights/*.py benchmarks/*.py

layers: setup ## import-linter: which package may import which
	@$(BIN)/lint-imports >$(VENV)/layers.txt || { cat $(VENV)/layers.txt; exit 1; }

# Without the comparison with other tools, which installs them, and its texts.
BENCHMARKS := $(filter-out benchmarks/peers.py benchmarks/peer_projects.py,$(sort $(wildcard benchmarks/*.py)))

bench: setup ## print the figures of the benchmarks
	@for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-peers: setup ## compare with Dagster and SQLMesh; installs them (800 MB) below the system temp folder
	@$(BIN)/python benchmarks/peers.py $(PEERS)

clean: ## remove .venv, caches, and what the example made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf examples/flights/.partita examples/flights/lake examples/flights/flights.duckdb*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Some distributions ship Python without the part that puts pip into a new environment; pip itself can then install into it.
$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Partita needs Python 3.11 or later, and none of $(CANDIDATES) is. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	elif ! "$(PYTHON)" $(IS_NEW_ENOUGH) 2>/dev/null; then \
		echo "Partita needs Python 3.11 or later, and $(PYTHON) is not. Name another: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@echo "Setting up $(VENV) (once) ..."
	@"$(PYTHON)" -m venv $(VENV) >/dev/null 2>&1 \
		|| { rm -rf $(VENV); "$(PYTHON)" -m venv --without-pip $(VENV) && "$(PYTHON)" -m pip --python $(BIN)/python install -qq pip; }

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@echo "Installing Partita with what '$*' needs ..."
	@$(PIP_INSTALL) '.[$*]'
	@touch $@
