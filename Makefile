# Every target sets up .venv by itself; that needs CPython 3.11 or later with venv and pip.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= ../shared/data
# Two test workers of one thread each: on two cores faster than one worker of two.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-fast test-slow test-old-processor check-data lint format figures clean

demo: .venv/demo
	$(BIN)/tiepoint demo --out out/demo

test: lint
	$(PYTEST) $(OPTIONS) -n 2 -m "not data and not slow"

# Unit tests alone: no training, no browser, no other process.
test-fast: .venv/dev
	$(PYTEST) -n 2 -m "not data and not slow and not whole and not browser"

test-slow: .venv/dev
	$(PYTEST) $(OPTIONS) -n 2 -m "slow and not data"

# The rooms that calculate once more, with the instructions that every x86-64 processor has.
test-old-processor: .venv/dev
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(PYTEST) -n 2 -m "not data and not slow" \
	    $(addprefix tests/,data dense evaluation features geometry images losses matching models nets registration structure training)

# Slow checks on the real images of $(DATA); skipped where the folder is absent.
check-data: .venv/dev
	$(PYTEST) -m data

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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

.venv/demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e '.[demo]'
	touch $@

.venv/dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e '.[dev]'
	touch $@ .venv/demo

clean:
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
