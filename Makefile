# Each target does everything it needs on a fresh clone: it creates .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: quickstart test lint bubblewrap clean

quickstart: .venv/.lab
	$(BIN)/guerdon quickstart --out runs/quickstart

test: .venv/.dev bubblewrap
	$(BIN)/python -m pytest -n 2

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The sandbox needs bubblewrap. Tests of isolation are skipped without it.
bubblewrap:
	@command -v bwrap >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& { apt-get install -y -qq bubblewrap || { apt-get update -qq && apt-get install -y -qq bubblewrap; }; } >/dev/null 2>&1; } \
	|| echo 'bubblewrap is not installed, tests of the sandbox are skipped: apt-get install bubblewrap (or dnf, pacman, apk)'

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.lab: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -c constraints.txt -e '.[lab]'
	touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -c constraints.txt -e '.[dev]'
	touch $@ .venv/.lab

clean:
	rm -rf .venv
