PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --cpu

OLDEST := build/oldest

.PHONY: fit test test-quick test-long test-oldest check dist docs linkcheck setup clean

fit: $(READY)  ## train REG-SUM and probe it
	$(BIN)/arithprobe fit --config configs/reg_sum.yaml

test: $(READY)  ## the suite: every law
	$(TESTS)

test-quick: $(READY)  ## what takes a moment, for the inner loop
	$(TESTS) -m "not slow and not long"

test-long: $(READY)  ## many seeds and much chance: calibrations, fuzzing, kills; not in CI
	$(TESTS) -m long -rP

test-oldest:  ## the suite on the lower bounds of pyproject.toml; not in CI
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --editable ".[dev]" --constraint constraints-oldest.txt
	$(TESTS:$(BIN)/%=$(OLDEST)/bin/%)

check: $(READY)  ## lint, types, layers, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TESTS)

dist: $(READY)  ## wheel and sdist in dist/, tried in a fresh environment and an empty folder; not in 'check'
	$(BIN)/python -m build --outdir dist
	$(BIN)/python scripts/try_wheel.py dist

docs: $(READY)  ## the documentation site, build/docs/index.html; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -b html docs build/docs

linkcheck: $(READY)  ## the addresses in the documentation; needs a network
	$(BIN)/sphinx-build -W --keep-going -b linkcheck docs build/linkcheck

setup: $(READY)  ## install into .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]" --constraint constraints.txt
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
