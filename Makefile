# make demo | test | lint | help      each sets up .venv by itself; PYTHON=... chooses the interpreter (3.11 or newer)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
# Verilator's own makefiles run below: they must not inherit this one's flags and variables.
unexport MAKEFLAGS MFLAGS MAKEOVERRIDES

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WORKERS ?= 2
INPUTS := pyproject.toml constraints/tested.txt constraints/build.txt

.PHONY: help demo test proofs proofs-long test-slow lint format bench clean

help:
	@echo "make demo       segment a real picture by tiles, one in simulated hardware (build/demo)"
	@echo "make test       the tests that take minutes; WORKERS=n chooses how many at once"
	@echo "make proofs     long proofs of the cores, products on gates, synthesis, a mask on gates, routed clocks (minutes)"
	@echo "make proofs-long  timing rule and size of every array, whole engines routed on an ECP5 (hours)"
	@echo "make test-slow  the long tests too"
	@echo "make lint       ruff, mypy, import directions"
	@echo "make format     let ruff rewrite the sources"
	@echo "make clean      remove .venv and build folders"

demo: $(VENV)/.demo
	$(BIN)/hwseg demo -o build/demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(TESTS)

proofs: $(VENV)/.test
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "slow and not hours" tests/rtl/cores \
		tests/arith tests/boards/test_synthesis.py tests/bench/test_route.py tests/bench/test_levels.py tests/sim/test_netlist.py

proofs-long: $(VENV)/.test
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m hours tests/boards/test_synthesis.py \
		tests/bench/test_levels_presets.py tests/bench/test_route_engine.py

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not hours and not board" $(TESTS)

lint: $(VENV)/.test
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

bench: $(VENV)/.test
	$(BIN)/hwseg bench

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer with venv is needed; set PYTHON=..." >&2; exit 1; }
	@echo "$(VENV): $(PYTHON) -m venv"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && touch $@

# The demo needs no torch: its networks are shipped.
$(VENV)/.demo: $(VENV)/.made $(INPUTS)
	@echo "$(VENV): installing hwseg[sim] (about 20 s)"
	@$(PIP) install -c constraints/tested.txt -e '.[sim]' && touch $@

# torch stands in the same run as what depends on it; finn-base builds only under its constraint, so in a run of its own.
$(VENV)/.test: $(VENV)/.demo
	@echo "$(VENV): installing hwseg[all,referee,dev] (2.2 GB, one to two minutes)"
	@$(PIP) install -c constraints/tested.txt torch==2.13.0 -e '.[all,dev]'
	@PIP_CONSTRAINT=constraints/build.txt $(PIP) install -c constraints/tested.txt -e '.[referee]'
	@$(PIP) check && touch $@
