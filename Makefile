# Each target does its own set-up. ARGS are handed on: make demo ARGS="--seconds 20 --json"
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.PHONY: help install demo test check bench deb deb-test clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    the main job, with nothing configured"
	@echo "make test    all tests, as CI runs them"
	@echo "make install a virtual environment in .venv, for working on the code"
	@echo "make check   types, style and the arrows between packages"
	@echo "make bench   what is measured, and how"
	@echo "make deb     the Debian package for this machine's release and architecture, in dist/"
	@echo "make deb-test   that package installed, upgraded and purged in a Debian of its own (as root)"

install: .venv/ready

# --no-build-isolation: the build backend is one of the pinned requirements, too.
.venv/ready: pyproject.toml .ci/requirements.txt .ci/setup
	@.ci/setup python "$(PYTHON)"
	@$(PYTHON) -m venv .venv
	@echo "installing what it needs into .venv" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .ci/requirements.txt >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . >&2
	@touch $@

demo: install
	@.ci/setup demo
	@$(BIN)/vitals-gateway demo $(ARGS)

test: install check
	@.ci/setup test
	$(BIN)/pytest --numprocesses 2 --dist worksteal $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	@.ci/setup test
	$(BIN)/python -m benchmarks $(ARGS)

deb:
	@.ci/setup deb
	debian/rules clean binary
	@debian/rules clean >/dev/null

deb-test: install deb
	@.ci/setup deb-test
	$(BIN)/pytest debian/tests $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
