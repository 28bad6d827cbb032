PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: fit test check setup clean

fit: $(READY)  ## train REG-SUM and probe it
	$(BIN)/arithprobe fit --config configs/reg_sum.yaml

test: $(READY)  ## the whole suite
	$(BIN)/python -m pytest

check: $(READY)  ## lint, types, layers, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

setup: $(READY)  ## install into .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]" --constraint constraints.txt
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
