# Two commands are enough: `make run` and `make test`. Both set up what they lack, in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test lint soak bench lock clean

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

$(VENV)/.runtime: requirements/runtime.lock pyproject.toml
	@echo "· making $(VENV) and installing the locked packages (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "python3 cannot make a virtual environment: apt-get install python3-venv"; exit 1; }
	@$(PIP) install --require-hashes --requirement requirements/runtime.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime requirements/test.lock
	@echo "· installing what the tests need (once)"
	@$(PIP) install --require-hashes --requirement requirements/test.lock
	@touch $@

$(VENV)/.bench: $(VENV)/.test requirements/bench.lock
	@echo "· installing the peers that the benchmarks run beside (once)"
	@$(PIP) install --require-hashes --requirement requirements/bench.lock
	@touch $@

run: $(VENV)/.runtime ## Run the daemon on this repository's own jobs.d/
	@$(BIN)/python -m jobreconciler.welcome $(BIN)/jobreconciler
	@exec $(BIN)/jobreconciler run

test: $(VENV)/.test lint ## Lint, types, import contract, and every test this machine can run
	@$(BIN)/python -m pytest

lint: $(VENV)/.test ## ruff, mypy --strict, import-linter, stale schemas
	@echo "· ruff";            $(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .
	@echo "· mypy --strict";   $(BIN)/mypy
	@echo "· import contract"; $(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	@echo "· schemas";         $(BIN)/jobreconciler schema --check

soak: $(VENV)/.test ## Faults for an hour (SOAK_KILLS=N, SOAK_ROUNDS=N, SOAK_FLOOD_MIB=N, SOAK_SEED=N)
	@SOAK_KILLS=$${SOAK_KILLS:-200} SOAK_ROUNDS=$${SOAK_ROUNDS:-5} \
	  SOAK_FLOOD_MIB=$${SOAK_FLOOD_MIB:-10240} $(BIN)/python -m pytest tests/faults

bench: $(VENV)/.bench ## Print every figure beside its floor and its peers
	@$(BIN)/python -m bench

lock: $(VENV)/.test ## Resolve the dependencies anew
	@$(PIP) install pip-tools && sh requirements/lock.sh $(BIN)/pip-compile

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis node_modules
