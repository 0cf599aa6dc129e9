# `make demo` and `make test` do all set-up on a fresh machine, then the work.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
# Real data beside the checkout is used where it is there; elsewhere halftime looks in the user's cache, then downloads.
ifneq ($(wildcard ../shared/data/README.md),)
export HALFTIME_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test test-lowest test-ray lint types clean

demo: $(READY)
	$(BIN)/halftime demo

test: $(READY) lint types
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

types: $(READY)
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

# The whole suite on the lowest supported versions, in an environment of its own (this torch brings CUDA: some gigabytes).
test-lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable ".[dev]"
	.venv-lowest/bin/python -m pytest

# What needs the extra "ray": a cluster on this machine. `make test` leaves these tests out where Ray is missing.
test-ray: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,ray]"
	$(BIN)/python -m pytest tests/search/test_engine.py -k ray

clean:
	rm -rf $(VENV) .venv-lowest .halftime build dist .mypy_cache .pytest_cache .ruff_cache
