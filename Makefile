# Everything a person or a CI machine does here. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
NPM := tests/parts/npm
SERVERS := $(NPM)/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench lab lab-down constraints monitoring clean machine

help:  ## list what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(BIN)/ready $(SERVERS)  ## install all that is needed, once (as root on Debian also what apt has)

demo: $(BIN)/crew  ## the whole story on this machine: back up, lose, restore, prove
	@$(BIN)/crew demo

test: setup lint  ## lint, all tests, coverage and its floors
	@$(BIN)/coverage erase
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --cov --cov-report=term $(ARGS)
	@$(BIN)/python -m tests.floors

lint: setup  ## ruff, mypy, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup  ## let ruff put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup  ## measure side by side; one only: make bench ONLY=help
	@$(BIN)/python -m tests.bench $(ONLY)

lab: setup  ## boot Debian hosts to try deploys on (as root); more of them: make lab HOSTS=5
	@$(BIN)/python -m tests.lab up $(HOSTS)

lab-down:  ## take those hosts down again
	@$(BIN)/python -m tests.lab down

monitoring: setup  ## write the Prometheus rules and the Grafana dashboard anew
	@$(BIN)/python -m jobs.monitoring

constraints:  ## move constraints.txt to the newest versions
	@sh tests/parts/constraints.sh $(PYTHON)

clean:  ## remove all that was made here
	@test ! -e .cache/lab/now || $(BIN)/python -m tests.lab down
	rm -rf .venv .cache .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache $(NPM)/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

machine:
	@sh tests/parts/debian.sh

$(BIN)/pip:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh tests/parts/debian.sh python3-venv
	$(PYTHON) -m venv .venv

PIP = PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check

$(BIN)/crew: pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) --editable '.[demo]'
	@touch $@

$(BIN)/ready: pyproject.toml constraints.txt | machine $(BIN)/pip
	$(PIP) --editable '.[test]'
	@touch $@ $(BIN)/crew

$(SERVERS): $(NPM)/package-lock.json | $(BIN)/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix $(NPM) --no-audit --no-fund --loglevel=error
	@touch $@
