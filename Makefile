# `make demo` and `make test` do all the set-up themselves.
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
PYTEST_ARGS ?=
# A restore of ZooKeeper wants all clients away: the lab of these has no HDFS, whose failover controllers are some.
ALONE := tests/faults/test_zk_snapshots.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all fast lint unit lab-tests every-event generate clean

help:  ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup:  ## The virtual environment, and on Debian and Ubuntu a JDK, Maven and sshd
	@bash tools/setup.sh

demo: setup  ## Four real clusters, faults in them, and bdops finding each one
	@$(PY) tools/demo.py

test: lint unit lab-tests  ## Everything: ruff, mypy, unit and contract tests, and the lab tests on real servers

test-all: test every-event  ## `make test`, what is left out of it, and bdops killed at every event of every job: hours

fast: lint unit  ## Everything that needs no servers: a minute

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

unit: setup
	$(PYTEST) tests/unit tests/contract tests/plans -n auto --dist worksteal $(PYTEST_ARGS)

# Not before the quick tests have passed, in a parallel make either.
lab-tests: lint unit
	$(PYTEST) tests/lab tests/faults --ignore $(ALONE) -m "not thorough" $(PYTEST_ARGS)
	$(PYTEST) $(ALONE) -m "not thorough" $(PYTEST_ARGS)

every-event: lint unit
	$(PYTEST) tests/lab tests/faults --ignore $(ALONE) -m thorough $(PYTEST_ARGS)
	$(PYTEST) $(ALONE) -m thorough $(PYTEST_ARGS)
	BDOPS_EVERY_EVENT=1 $(PYTEST) tests/faults --ignore $(ALONE) -k killed $(PYTEST_ARGS)
	BDOPS_EVERY_EVENT=1 $(PYTEST) $(ALONE) -k killed $(PYTEST_ARGS)

generate: setup  ## docs/checks.md, the JSON Schemas and the protobuf code
	$(PY) tools/generate.py

clean:  ## Remove the virtual environment and what tools left behind; labs and their jars stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
