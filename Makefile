# Needs python3.11 or newer (with venv and pip) and make; no compiler. `make` alone lists the targets.

VENV ?= .venv
# The first interpreter that really runs and is new enough; override with `make PYTHON=/path/to/python3.12 …`.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := $(VENV)/bin
JOBS ?= 4
PYTEST_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The product and its tests start many processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test stress docker-test lint proto bench chaos fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no python3.11 or newer found; name one: make PYTHON=/path/to/python3 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg setup.py pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet -e .
	@touch $@

$(VENV)/.installed-test: setup.cfg setup.py pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[test]'
	@touch $@ $(VENV)/.installed

setup: $(VENV)/.installed-test ## make .venv with everything, tests included

run: $(VENV)/.installed ## the main job: start it all, serve relays, claim, prove, be paid (KEEP=1 stays up)
	@$(BIN)/pocket-relay-miner demo $(if $(KEEP),--keep)

test: $(VENV)/.installed-test ## every test that CI runs
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup -m 'not stress' $(PYTEST_ARGS)

stress: $(VENV)/.installed-test ## the tests that repeat many times or take long (by hand)
	$(BIN)/python -m pytest -q -m stress $(PYTEST_ARGS)

docker-test: $(VENV)/.installed-test ## the pytest-celery tests; they need a Docker engine
	$(BIN)/python -m pytest -q -p pytest_celery -o addopts='--strict-markers --import-mode=importlib' tests/docker

lint: $(VENV)/.installed-test ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

proto: $(VENV)/.installed-test ## regenerate pocket_protocol/pb from proto/
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. $$(cd proto && find . -name '*.proto' | sed 's|^\./||' | sort)

bench: $(VENV)/.installed-test ## CPU per relay by process, beside the reference's figures (by hand; see docs/bench.md)
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

chaos: $(VENV)/.installed-test ## seeded faults against real processes (by hand; see docs/chaos.md)
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

$(VENV)/.installed-fuzz: $(VENV)/.installed-test
	$(BIN)/pip install --quiet -e '.[fuzz]' || echo "no wheel of atheris here: our own mutations are used instead" >&2
	@touch $@

fuzz: $(VENV)/.installed-fuzz ## mutated inputs for all that reads bytes of strangers (by hand; see docs/fuzz.md)
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

clean: ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info build
