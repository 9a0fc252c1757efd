# `make demo` and `make test` do all the set-up themselves.
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all fast lint unit lab-tests generate clean

help:  ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup:  ## The virtual environment, and on Debian and Ubuntu a JDK, Maven and sshd
	@bash tools/setup.sh

demo: setup  ## Four real clusters, faults in them, and bdops finding each one
	@$(PY) tools/demo.py

test: lint unit lab-tests  ## Everything: ruff, mypy, unit and contract tests, and the lab tests on real servers

test-all: test  ## The same as `make test`

fast: lint unit  ## Everything that needs no servers: a minute

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

unit: setup
	$(PYTEST) tests/unit tests/contract $(PYTEST_ARGS)

# Not before the quick tests have passed, in a parallel make either.
lab-tests: lint unit
	$(PYTEST) tests/lab $(PYTEST_ARGS)

generate: setup  ## docs/checks.md, the JSON Schemas and the protobuf code
	$(PY) tools/generate.py

clean:  ## Remove the virtual environment and what tools left behind; labs and their jars stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
