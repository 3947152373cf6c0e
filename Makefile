# `make` alone prints the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= mlp
TRIALS ?= 50
ARGS ?=
BENCHMARKS ?= throughput preparation overhead scaling joining many_workers live_view large pruning intervals surrogate quality prediction tracking_outage tracking_calls
# Given, but empty, means the whole benchmarks.
BENCH_ARGS = $(if $(filter undefined file,$(origin ARGS)),--quick,$(ARGS))

.DEFAULT_GOAL := help
.PHONY: help install search test test-compose test-chaos test-long bench check format lock

help: ## Print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Make .venv with the pinned dependencies

search: $(VENV)/.installed ## Run a search: MODEL=mlp|cnn TRIALS=50 ARGS="more options"
	$(BIN)/python studies.py --model $(MODEL) --trials $(TRIALS) $(ARGS)

test: $(VENV)/.installed-dev ## Run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-compose: $(VENV)/.installed-dev ## Build the image and run docker compose for real (needs an engine)
	$(BIN)/python -m pytest -m compose $(ARGS)

test-chaos: $(VENV)/.installed-dev ## Kill workers and PostgreSQL through whole studies, for minutes
	$(BIN)/python -m pytest -m chaos $(ARGS)

test-long: $(VENV)/.installed-dev ## A million updates and thousands of requests, for many minutes
	$(BIN)/python -m pytest -m long $(ARGS)

bench: $(VENV)/.installed-bench ## Run all benchmarks, quick; whole ones, for hours: make bench ARGS=
	set -e; for name in $(BENCHMARKS); do echo "== $$name"; \
	  $(BIN)/python -m benchmarks.$$name $(BENCH_ARGS) \
	  --json runs/bench/$$name.json --markdown runs/bench/$$name.md; done

check: $(VENV)/.installed-dev ## Lint, formatting, types and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Resolve the dependencies afresh and write the lock files
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install .
	build/lock/bin/pip freeze --all --exclude pip --exclude title-search | sed 's/+cpu$$//' > requirements.lock
	build/lock/bin/pip install '.[bench]'
	build/lock/bin/pip freeze --all --exclude pip --exclude title-search | sed 's/+cpu$$//' \
	  | grep -vxFf requirements.lock > requirements-bench.lock
	build/lock/bin/pip uninstall --yes -r requirements-bench.lock
	build/lock/bin/pip install '.[dev]'
	build/lock/bin/pip freeze --all --exclude pip --exclude title-search | sed 's/+cpu$$//' > requirements-dev.lock
	rm -rf build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "error: $(PYTHON) is not Python 3.11; give one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python requirements.lock
	@echo "Installing the pinned dependencies into $(VENV) (a few minutes the first time)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python requirements-dev.lock
	@echo "Installing the pinned dependencies and the test tools into $(VENV)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/bin/python requirements.lock requirements-bench.lock
	@echo "Installing the pinned dependencies and the benchmarks' rivals into $(VENV)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock -r requirements-bench.lock
	@touch $@ $(VENV)/.installed
