# Everything a person or a CI machine does here. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
NPM := tests/parts/npm
SERVERS := $(NPM)/node_modules/.package-lock.json
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --cov
IMAGE ?= groundcrew:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
NAMED = $(shell echo '$(IMAGE)' | tr A-Z a-z)
ROOMS := inventories terraform deploys jobs

# Where this is set, each crew that a test or a bench starts would compile all of its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit test-integration test-lab test-pythons coverage lint types format hooks audit \
	bandit secrets bench lab lab-down constraints monitoring pictures \
	install environments drift-issue plan-comment plan-summary wheel image push changelog notes clean machine

help:  ## list what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 26

setup: $(BIN)/ready $(SERVERS)  ## install all that is needed, once (as root on Debian also what apt has)

demo: $(BIN)/crew  ## the whole story on this machine: back up, lose, restore, prove
	@$(BIN)/crew demo

test: setup lint  ## lint, all tests, coverage and its floors
	@$(BIN)/coverage erase
	$(PYTEST) --cov-report=term $(ARGS)
	@$(BIN)/python -m tests.floors

test-unit: setup  ## the tests that decide: no servers, no waiting
test-integration: setup  ## the tests that act, on real servers
test-lab: setup  ## the tests of deploys, on booted hosts (as root)
test-unit test-integration test-lab:
	@mkdir -p results
	COVERAGE_FILE=$(CURDIR)/results/$@.coverage $(PYTEST) --cov-report= --junitxml=results/$@.xml $(@:test-%=tests/%) $(ARGS)

test-pythons: setup  ## the unit tests on each Python that we support, as far as this machine has it
	@$(BIN)/python -m tests.pythons $(ARGS)

coverage: setup  ## add up the coverage of those three, and hold it to the floors
	$(BIN)/coverage combine --keep $$(find results -name '*.coverage')
	@$(BIN)/coverage xml -o results/coverage.xml
	@$(BIN)/coverage report
	@$(BIN)/python -m tests.floors

lint: setup types  ## ruff, mypy, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

types: setup  ## mypy
	$(BIN)/mypy

format: setup  ## let ruff put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

hooks: setup  ## all that is looked at before a commit; before each commit: .venv/bin/pre-commit install
	$(BIN)/pre-commit run --all-files

audit: $(BIN)/pip-audit  ## known holes in what we depend on (asks the advisory database, online)
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

bandit: setup  ## unsafe habits in our own code
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(ROOMS)

secrets: setup  ## keys and passwords that must not be in a repository
	$(BIN)/pre-commit run --all-files detect-secrets

bench: setup  ## measure side by side; one only: make bench ONLY=help
	@$(BIN)/python -m tests.bench $(ONLY)

lab: setup  ## boot Debian hosts to try deploys on (as root); more of them: make lab HOSTS=5
	@$(BIN)/python -m tests.lab up $(HOSTS)

lab-down:  ## take those hosts down again
	@$(BIN)/python -m tests.lab down

monitoring: setup  ## write the Prometheus rules and the Grafana dashboard anew
	@$(BIN)/python -m jobs.monitoring

pictures: setup  ## take the status page's picture for the README anew
	@$(BIN)/python -m tests.pictures

install:  ## crew alone, into the Python that runs: what drift and stacks on GitHub need
	PIP_CONSTRAINT=constraints.txt $(PYTHON) -m pip install --quiet --disable-pip-version-check .

environments:  ## those that have stacks, as workflows on GitHub read them (wants what install brings)
	@$(PYTHON) -m terraform.ci.environments >>"$${GITHUB_OUTPUT:-/dev/stdout}"

drift-issue:  ## an issue on GitHub that tells an environment's drift: make drift-issue ENVIRONMENT=staging
	terraform/ci/drift.sh "$(ENVIRONMENT)"

plan-comment:  ## a comment that tells what a pull request would do: … ENVIRONMENT=staging PULL_REQUEST=17
	terraform/ci/plan.sh "$(ENVIRONMENT)" "$(PULL_REQUEST)"

plan-summary:  ## the same for who approves, in the job's summary: make plan-summary ENVIRONMENT=production
	terraform/ci/plan.sh "$(ENVIRONMENT)"

wheel: | $(BIN)/pip  ## the package, into dist/
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

image:  ## what the Dockerfile says: make image IMAGE=registry.acme.example/groundcrew:1
	docker build --tag "$(NAMED)" .

push:  ## that image, to its registry
	docker push "$(NAMED)"

changelog:  ## begin a release: what changed since the last, on top of CHANGELOG.md; then polish it
	@$(PYTHON) -m tests.changelog write

notes:  ## what a release says of itself, into dist/notes.md
	@$(PYTHON) -m tests.changelog notes

constraints:  ## move constraints.txt to the newest versions
	@sh tests/parts/constraints.sh $(PYTHON)

clean:  ## remove all that was made here
	@test ! -e .cache/lab/now || $(BIN)/python -m tests.lab down
	rm -rf .venv .cache .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache results dist $(NPM)/node_modules
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

$(BIN)/pip-audit: constraints.txt | $(BIN)/pip
	$(PIP) pip-audit
	@touch $@

$(SERVERS): $(NPM)/package-lock.json | $(BIN)/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix $(NPM) --no-audit --no-fund --loglevel=error
	@touch $@
