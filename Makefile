# Every target sets up what it needs: Python 3.11 or later and make are enough.
#
#   make demo     the product, shown: faults are made, and what heartline says of them
#   make test     the tests, on one Python
#   make check    style, format and types
#   make matrix   the tests on every Python 3.11, 3.12 and 3.13 found
#   make bench    measured figures of this machine
#   make prove    the promises, each tried against real faults (its lab: as root)
#   make quality  detection quality over months of virtual time, beside other detectors
#   make simulate a hundred thousand histories of ten virtual minutes, all checked
#   make mutate   faults planted in the core: how many the tests notice
#   make clean    away with everything that was made
#
# PYTHON=python3.12 chooses the interpreter of a new environment, VENV=dir its place,
# TESTS=tests/test_x.py what is tested; QUALITY='--days 90', MUTATE='--sample 400' and
# SIMULATE='--histories 1000 --seed 7' are the options of those three.

VENV = .venv
TESTS = tests
QUALITY =
SIMULATE =
MUTATE =
PYTHON =
BIN = $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test check matrix bench prove quality simulate mutate clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.runtime
	@$(BIN)/heartline demo

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 2 $(TESTS)

check: $(VENV)/.dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pyright --pythonpath $(BIN)/python

matrix:
	@MAKE='$(MAKE)' TESTS='$(TESTS)' .ci/matrix

bench: $(VENV)/.dev
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench venues

prove: $(VENV)/.dev
	@$(BIN)/python -m prove

quality: $(VENV)/.quality
	@$(BIN)/python -m quality $(QUALITY)

simulate: $(VENV)/.dev
	@$(BIN)/python -m simulate --histories 100000 $(SIMULATE)

mutate: $(VENV)/.dev
	@$(BIN)/python -m mutate $(MUTATE)

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: what each stands for is done again when what it is made of changes.

$(VENV)/.runtime: pyproject.toml setup.py $(wildcard src/heartline/*/*.pyx src/heartline/*/*.pxd)
	@PYTHON='$(PYTHON)' .ci/venv $(VENV)
	@$(BIN)/python -m pip install -q -e .
	@touch $@

# pip 25.1 is the first that knows --group; a new environment may come with an older one.
$(VENV)/.dev: $(VENV)/.runtime
	@echo 'installing what the tests and checks need into $(VENV), once' >&2
	@$(BIN)/python -m pip install -q 'pip>=25.1'
	@$(BIN)/python -m pip install -q --group dev
	@touch $@

$(VENV)/.quality: $(VENV)/.dev
	@$(BIN)/python -m pip install -q --group quality
	@touch $@
