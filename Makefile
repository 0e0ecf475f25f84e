# `make demo` and `make test` need Python >= 3.11 and nothing else: they set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo demo-seeds test check format clean

help:
	@echo "make demo        simulate, train, predict unseen cell lines, evaluate: demo-out/"
	@echo "make demo-seeds  the same with five seeds, and a table: demo-seeds-out/"
	@echo "make test        run the tests"
	@echo "make check       formatting, lint, types, import rules"
	@echo "make format      rewrite the code as the formatter wants it"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(STAMP)
	rm -rf demo-out
	$(BIN)/episode demo --out demo-out --seed 0

demo-seeds: $(STAMP)
	rm -rf demo-seeds-out
	$(BIN)/episode demo --out demo-seeds-out --seeds 0,1,2,3,4

test: $(STAMP)
	$(BIN)/python -m pytest -q

check: $(STAMP)
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format src tests
	$(BIN)/ruff check --fix src tests

clean:
	rm -rf $(VENV) demo-out demo-seeds-out test-output
