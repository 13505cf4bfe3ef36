# The desk's commands. `make help` explains each.
# so that a floor of the coverage that is missed fails although its report goes through a pipe
SHELL := bash
.SHELLFLAGS := -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 200
FIRST_SEED ?= 0
BLOWS ?= 100
MINUTES ?= 10
SEED ?= 1
HOURS ?= 2
ROUNDS ?= 20
# a file's tests share what is slow to start; in the order of the tree, since the slow files are not at its end
SPREAD := --dist loadfile --no-loadscope-reorder
# a machine that stood still for a minute fails a test of processes: what failed runs once more, alone, and is named
AGAIN := { test $$? -eq 1 && echo "voldesk: those tests that failed run once more, alone" && \
	$(BIN)/python -m pytest -v --last-failed --last-failed-no-failures none; }
# packaging: the editable install below builds without fetching anything that is not in the lock
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install install-telegram install-notify install-parquet install-dev up down test test-long test-compose test-all explore chaos test-live check hooks bench soak simulate simulate-nightly simulate-mutants lock

help: ## explain each command
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@echo "voldesk: making a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit("voldesk needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "voldesk: installing pinned packages (about half a minute)"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "voldesk: installing the development packages"
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed ## install what the desk needs into .venv, pinned with hashes
install-dev: $(VENV)/.installed-dev ## the same and the tools for tests and checks

install-telegram: install ## add Telegram: alerts, commands and charts on the phone
	@$(PIP_INSTALL) --require-hashes -r requirements-telegram.lock

install-parquet: install ## add `voldesk export --format parquet`
	@$(PIP_INSTALL) --require-hashes -r requirements-parquet.lock

install-notify: install ## add alerts by Slack, Discord, e-mail, webhooks and the like
	@$(PIP_INSTALL) --require-hashes -r requirements-notify.lock

up: install ## start the desk against the simulated exchange (paper trading)
	@$(BIN)/voldesk up

down: install ## stop the desk and everything it started
	@$(BIN)/voldesk down

# tests start processes by the hundred: where the environment forbids to keep bytecode, each would compile the project
test test-long test-all chaos explore: export PYTHONDONTWRITEBYTECODE =

test: install-dev ## the tests with branch coverage and its floors, but not the long ones
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m compileall -q shared services voldesk world
	@$(BIN)/python -m pytest -q --collect-only >/dev/null || true
	@$(BIN)/coverage run -m pytest -n 5 $(SPREAD) -m "not (e2e or simulation or long or compose)" || $(AGAIN)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/python -m pytest -n 4 $(SPREAD) -m "(e2e or simulation) and not long" || $(AGAIN)
	@$(BIN)/coverage report --include='shared/options/*' --fail-under=95 | tail -1
	@$(BIN)/coverage report --include='services/risk/*' --omit='*/shell.py,*/__main__.py' --fail-under=90 | tail -1
	@$(BIN)/coverage report --include='services/execution/*' --omit='*/shell.py,*/__main__.py' --fail-under=85 | tail -1
	@$(BIN)/coverage report --include='services/strategy/*,shared/strategy/*' --omit='*/shell.py,*/__main__.py' --fail-under=80 | tail -1
	@$(BIN)/coverage report --fail-under=80 | tail -1

test-long: install-dev ## the long ones: bad days of a real desk, chaos, more seeds
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m long || $(AGAIN)

explore: install-dev ## property tests with examples that no run has drawn: make explore ROUNDS=20
	@for round in $$(seq $(ROUNDS)); do \
		$(BIN)/python -m pytest -q -n 2 -m "hypothesis and not long" --hypothesis-profile=explore tests/unit || exit 1; \
	done

test-compose: install-dev ## the containers: images, stack, kills, cuts, roll-out; says whether a Docker engine was there
	@$(BIN)/python -m pytest -s -v tests/compose || { test $$? -eq 1 && \
		echo "voldesk: the containers' stories, of which something failed, run once more" && \
		$(BIN)/python -m pytest -s -v tests/compose; }

test-all: test test-long test-compose ## every test that needs no account

chaos: install-dev ## kills, stops and faults at random while four strategies trade: make chaos BLOWS=100 MINUTES=10 SEED=1
	@CHAOS_BLOWS=$(BLOWS) CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) $(BIN)/python -m pytest -s tests/e2e/test_chaos.py

test-live: install-dev ## opt-in, trades: the checks against the venue's beta, with your keys and at most 0.01 a time
	@VOLDESK_TEST_LIVE=beta $(BIN)/python -m pytest tests/live -v

check: install-dev ## style, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

hooks: install-dev ## run these checks on each commit, on what it contains
	@mkdir -p "$$(git rev-parse --git-path hooks)"
	@ln -sf "$$(pwd)/.ci/pre-commit" "$$(git rev-parse --git-path hooks)/pre-commit"
	@echo "voldesk: every commit is checked now; remove with: rm $$(git rev-parse --git-path hooks)/pre-commit"

bench: install-dev ## performance figures, each with a ratio against a floor measured in the same run
	@$(BIN)/python -m bench

soak: install-dev ## a real desk left alone under faults: memory, alerts, logs, books: make soak HOURS=2 SEED=1
	@nice -n 5 $(BIN)/python -m soak desk --hours $(HOURS) --seed $(SEED)

simulate: install-dev ## the whole desk on a virtual clock under faults: make simulate SEEDS=200 FIRST_SEED=0
	@$(BIN)/python -m world --seeds $(SEEDS) --first-seed $(FIRST_SEED)

simulate-nightly: install-dev ## the same over very many seeds, goes on where it was; writes docs/simulation-nightly.md: make simulate-nightly SEEDS=10000
	@nice $(BIN)/python -m world --seeds $(SEEDS) --first-seed $(FIRST_SEED) $(if $(MINUTES),--minutes $(MINUTES)) \
		--write "$$(git describe --tags --always)$$(git diff --quiet HEAD -- . ':!docs/simulation-nightly.md' || echo -dirty)"

simulate-mutants: install-dev ## deliberate mistakes: which of them the simulation finds; writes docs/simulation-mutants.md
	@nice $(BIN)/python -m world.mutate --write

lock: $(BIN)/python ## renew the lock files from pyproject.toml
	@$(PIP_INSTALL) uv
	@echo setuptools | $(BIN)/uv pip compile pyproject.toml - --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock
	@for extra in telegram notify parquet; do \
		$(BIN)/uv pip compile pyproject.toml --extra $$extra --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-$$extra.lock || exit 1; done
	@echo setuptools | $(BIN)/uv pip compile pyproject.toml - --extra dev --extra telegram --extra notify --extra parquet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-dev.lock
	@$(BIN)/uv pip compile bench/peers.in --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --output-file bench/peers.lock
