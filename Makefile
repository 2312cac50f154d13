# `make tune` and `make test` set up what they need in .venv, then run.
PYTHON ?= python3
VENV ?= .venv
ARGS ?= --gpus 1
BIN := $(VENV)/bin
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: tune test test-gpu test-core-faults test-postgres test-service test-faults test-cluster lint types format clean

tune: $(VENV)/.installed
	$(BIN)/python tune_main.py $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not faults and not gpu and not postgres and not browser and not cluster" $(PARALLEL) --cov=model --cov=search --cov-report=
	@echo "lines covered, subprocesses not counted: $$($(BIN)/coverage report --format=total) %"

# Everything that can only go wrong on a GPU, in under 8 minutes.
test-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m gpu tests/test_gpu_*.py

# The five faults that matter most: driver, worker or Ray's node killed, disk full, Ctrl-C.
test-core-faults: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m core_faults $(PARALLEL)

# The record on a PostgreSQL server that the tests start; skipped where Debian's package is not installed.
test-postgres: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m postgres

# The service in a real browser, its runs killed, and asked nonsense at length; without Chromium the first is skipped.
# The service itself is killed by `make test-faults`: that takes minutes.
test-service: $(VENV)/.installed-dev
	SERVICE_EXAMPLES=50 $(BIN)/python -m pytest -k 'not lose_no_run' tests/test_service_browser.py tests/test_service_faults.py tests/test_service_openapi.py

test-faults: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m faults -n 3 --dist loadfile --no-loadscope-reorder

# Runs on nodes that share nothing, in namespaces: as root, with `ip` (Debian: iproute2). ONLY='-k refused' runs a part.
test-cluster: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m cluster $(ONLY)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

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
