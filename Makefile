# `make tune` and `make test` set up what they need in .venv, then run.
PYTHON ?= python3
VENV ?= .venv
ARGS ?= --gpus 1
BIN := $(VENV)/bin

.PHONY: tune test test-faults lint types format clean

tune: $(VENV)/.installed
	$(BIN)/python tune_main.py $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not faults"

test-faults: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m faults -n 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
