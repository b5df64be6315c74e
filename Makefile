# One environment, .venv in the checkout: what goes into it is installed again only when it changes.

PYTHON ?= python3
PROCESSES ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
BASE_INSTALLED := $(VENV)/.installed-base
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
BENCHMARKS := read scale datasets train infer classify

.PHONY: help install demo test check format docs bench results report clean

help:
	@echo 'make demo     classify the bundled capture with the bundled model'
	@echo 'make test     run the tests in two processes (PROCESSES=1 in one; ARGS="-m \"not slow\"")'
	@echo 'make check    lint, format and types'
	@echo 'make format   apply format and the fixes that lint knows'
	@echo 'make docs     build the documentation into site/, strictly'
	@echo 'make bench    run the benchmarks'
	@echo 'make results  train every model on every protocol, resumable: docs/results.md (MINUTES=8 a run)'
	@echo 'make report   tables and figures of results/ as a page: report/index.html'
	@echo 'make install  install everything (make demo: the base only; PYTHON=python3.12 chooses the interpreter)'
	@echo 'make clean    remove the environment and caches'

install: $(INSTALLED)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'mtc needs Python 3.11 or newer: make PYTHON=/path/to/python3' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Everything holds the base, so that what was installed for `make test` serves `make demo` too.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $(BASE_INSTALLED) $@

$(BASE_INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	$(PIP) -e '.[bench]'
	@touch $@

demo: $(BASE_INSTALLED)
	$(BIN)/mtc demo --force

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(PROCESSES) --no-loadscope-reorder $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)
	$(PIP) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(BENCH_INSTALLED)
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

results: $(INSTALLED)
	$(BIN)/python scripts/results.py $(if $(MINUTES),--minutes $(MINUTES))

# Datasets, where they were built, are there for the histograms of their classes.
report: $(INSTALLED)
	$(BIN)/mtc report results $(patsubst %/dataset.json,%,$(wildcard data/*/dataset.json)) --out report --force

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
