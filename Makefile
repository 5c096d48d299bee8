# Each target does everything it needs on a fresh clone: it creates .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: quickstart test lint bubblewrap openrlhf trl skyrl verifiers verl clean

quickstart: .venv/.lab
	$(BIN)/guerdon quickstart --out runs/quickstart

test: .venv/.dev bubblewrap
	$(BIN)/python -m pytest -n 2

# verl asks for other versions than the rest: it is tested in an environment of its own, on CPU. Without a GPU, set
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu to spare the CUDA build of torch.
verl: .verl/.ready
	.verl/bin/python -m pytest tests/verl_real

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

# Trainers whose requirements rule each other out: each has a folder of its own, which its tests alone see.
trl: .peers/.trl
	PYTHONPATH=.peers/trl $(BIN)/python -m pytest $(wildcard tests/adapters/test_trl_*.py)

openrlhf: .peers/.openrlhf
	PYTHONPATH=.peers/openrlhf $(BIN)/python -m pytest $(wildcard tests/adapters/test_openrlhf*.py)

skyrl: .peers/.skyrl
	PYTHONPATH=.peers/skyrl $(BIN)/python -m pytest tests/adapters/test_skyrl.py tests/adapters/test_skyrl_itself.py

verifiers: .peers/.verifiers
	.peers/verifiers/bin/python -m pytest -p no:cacheprovider $(wildcard tests/adapters/test_verifiers*.py)

.peers/.trl: Makefile | .venv/.dev
	$(PIP) --target .peers/trl --upgrade --no-deps trl==1.16.0 datasets==5.2.0 dill multiprocess xxhash \
		pandas python-dateutil tzdata
	touch $@

# Its executor of rewards, without vLLM, DeepSpeed and what else its training needs.
.peers/.openrlhf: Makefile | .venv/.dev
	$(PIP) --target .peers/openrlhf --upgrade --no-deps openrlhf==0.11.2 pylatexenc
	touch $@

# SkyRL asks for Python 3.12 and for GPU packages; its estimators, batches and trainer class need neither.
.peers/.skyrl: Makefile | .venv/.dev
	$(PIP) --target .peers/skyrl --upgrade --no-deps --ignore-requires-python skyrl==0.4.0 skyrl-gym==0.4.0 \
		antlr4-python3-runtime==4.9.3 cloudpathlib datasets==5.2.0 dill func_timeout httpx jaxtyping loguru \
		multiprocess omegaconf orjson pandas pybase64 python-dateutil torchdata tzdata wadler-lindig xxhash
	touch $@

.peers/.verifiers: Makefile | .venv/bin/python
	$(PYTHON) -m venv .peers/verifiers
	.peers/verifiers/bin/python -m pip install --quiet --disable-pip-version-check verifiers==0.4.0 \
		pytest hypothesis -e .
	touch $@

.verl/.ready: pyproject.toml constraints-verl.txt
	test -x .verl/bin/python || $(PYTHON) -m venv .verl
	.verl/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-verl.txt \
		-e '.[lab,math,serve,verl]' TransferQueue cachetools pytest hypothesis
	touch $@

clean:
	rm -rf .venv .verl .peers
