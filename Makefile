# `make demo` and `make test` set up .venv by themselves; they need CPython 3.11 or later with venv and pip.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= ../shared/data
# Two test workers of one thread each: on two cores faster than one worker of two.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: demo test check-data lint format figures clean

demo: .venv/demo
	$(BIN)/tiepoint demo --out out/demo

test: lint
	$(PYTEST) -n 2 -m "not data"

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Slow checks on the real images of $(DATA); skipped where the folder is absent.
check-data: .venv/dev
	$(PYTEST) -m data

# The figures of docs/results.md, each by the command that stands beside it there.
figures: .venv/dev
	$(BIN)/tiepoint evaluate scenes $(DATA)/scenes/test/* --plot out/scenes.png
	$(BIN)/python benchmarks/registration.py $(DATA)
	$(BIN)/python benchmarks/describe.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/mining.py
	$(BIN)/python benchmarks/hpatches.py
	$(BIN)/python scripts/gradient_figure.py out/gradients.png

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

.venv/dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ .venv/demo

clean:
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache .hypothesis
