# Two commands do all the set-up: `make demo` and `make test`. Each installs into .venv when needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow test-faults gpu check format docs tiny-weights clean

demo: $(STAMP)  ## The main job on synthetic birds, end to end
	$(BIN)/macnn demo --output runs/demo --overwrite

test: check  ## All checks, and all tests that take no minutes
	$(BIN)/python -m pytest -m "not slow" --ignore tests/faults -n auto --dist worksteal

test-slow: $(STAMP)  ## The tests that do
	$(BIN)/python -m pytest -m slow --ignore tests/faults

test-faults: $(STAMP)  ## Stop, kill and damage trainings at any moment; prints its figures
	$(BIN)/python -m pytest tests/faults

gpu:  ## On a machine with a GPU: operator tests, speed, a short training; results in $$OUT
	tools/gpu.sh

check: $(STAMP)  ## Format, lint, types, one-way imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)  ## Write again what follows from the command line and from docs/figures
	$(BIN)/python tools/pages.py
	$(BIN)/python tools/figures.py fill

tiny-weights: $(STAMP)  ## Train the packaged weights of the small backbone again
	$(BIN)/python -m tools.tiny_weights

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "macnn needs Python >= 3.11")'
	@echo 'Installing into $(VENV); PyTorch is large, this takes some minutes'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:  ## Remove the environment and caches; runs are kept
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
