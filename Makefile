PYTHON ?= python3
READY := $(PYTHON) local/bootstrap.py
VENV := .venv/bin/python
unexport PYTHONSAFEPATH # with it, `python -m` does not look into this folder
.DEFAULT_GOAL := help
.PHONY: help up preview destroy seed verify stop words contract env lint test test-all soak bench-load bench-index bench-query bench-scale requirements

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo 'Variables: PG=18|16  DATABASE=own|env  ENGINE=auto|pulumi|standalone  SEED=0'
	@echo '           YES=1  WORDS=100000  PYTHON=python3'

up: ## provision a database, insert vectors, check the answers
preview: ## show what `make up` would change
destroy: ## undo the deployment, or keep its data, as its onDestroy says
seed: ## insert the vectors again and check the answers
verify: ## check the database against its contract
stop: ## stop the server; its data stays
up preview destroy seed verify stop:
	@$(READY) requirements-local.txt --name-server && $(VENV) -m local $@

words: ## show that king - man + woman = queen, on 100,000 words
	@$(READY) requirements-local.txt requirements-load.txt examples/words/requirements.txt --name-server && \
		$(VENV) -m local $@

contract: ## print what the deployment promises, as JSON
	@$(READY) requirements-local.txt >&2 && $(VENV) -m local contract

env: ## print what a shell needs: eval "$(make env)"
	@$(READY) requirements-local.txt >&2 && $(VENV) -m local env

lint: ## check style, types, imports and the pipelines' files
	@$(READY) requirements-dev.txt
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy
	$(VENV) -m seed migrate lint
	$(VENV) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
	.ci/lint-pipelines

PYTEST := $(VENV) -m pytest -n 2

test: ## run the tests for everyday work
	@$(READY) requirements-dev.txt
	$(PYTEST) -m 'not rest'

test-all: test ## run all tests, on PostgreSQL 16 those that may differ
	$(PYTEST) -m rest

soak: ## run all tests and all cases, with many more random ones
	@$(READY) requirements-dev.txt
	SOAK=1 $(PYTEST)

bench-load: ## compare load with COPY and other loaders; PEERS=their Python
	@$(READY) requirements-dev.txt
	$(VENV) -m bench.load $(if $(PEERS),--peers $(PEERS))

bench-index: ## compare the build of a declared index with builds by hand
	@$(READY) requirements-dev.txt
	$(VENV) -m bench.indexes

bench-query: ## compare searches with hand-written ones, and the truth of many queries with the server's
	@$(READY) requirements-dev.txt
	$(VENV) -m bench.queries

bench-scale: ## compare a load by Dask's workers with one by threads, and kill loaders
	@$(READY) requirements-dev.txt
	$(VENV) -m bench.scale

# One resolution, that of all, holds the parts. Pins stay as they are: `make requirements NEWER=--upgrade` moves them.
COMPILE := $(VENV) -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --annotation-style line --custom-compile-command 'make requirements'
PINNED := --constraints requirements-dev.txt

requirements: ## pin what pyproject.toml asks for, with hashes
	@$(READY) requirements-dev.txt
	$(COMPILE) --extra pulumi --extra load --extra dask --group dev --output-file requirements-dev.txt $(NEWER)
	$(COMPILE) $(PINNED) --extra pulumi --group local --output-file requirements-local.txt
	$(COMPILE) $(PINNED) --extra pulumi --output-file requirements.txt
	$(COMPILE) $(PINNED) --output-file requirements-seed.txt
	$(COMPILE) $(PINNED) --extra load --output-file requirements-load.txt
	$(COMPILE) $(PINNED) --extra dask --output-file requirements-dask.txt
