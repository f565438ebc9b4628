# make help lists the targets. Everything goes into .venv; nothing outside this folder is changed.

PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

# Stamps: an install runs again only when one of these files changes.
VENV_STAMP := .venv/.stamp-venv
ENV_STAMP := .venv/.stamp-env
DEV_STAMP := .venv/.stamp-dev
OLD_WIDGETS_STAMP := .venv/.stamp-old-widgets
PINS := pyproject.toml constraints.txt

.DEFAULT_GOAL := env
.PHONY: help env lab test notebooks benchmarks clean

help:
	@echo 'make            the same as make env'
	@echo 'make env        create .venv and install the course into it'
	@echo 'make lab        make env, then open JupyterLab in notebooks/'
	@echo 'make test       make env with the test tools, then run every check'
	@echo 'make notebooks  build notebooks/, exercises/ and solutions/ from lessons/'
	@echo 'make benchmarks time things side by side, for benchmarks/README.md'
	@echo 'make clean      remove .venv and what tests and builds leave behind'
	@echo 'Another Python: make lab PYTHON=python3.12'

env: $(ENV_STAMP)

lab: $(ENV_STAMP)
	$(BIN)/sdcourse lab

# Two tests at a time, one thread each: small networks gain little from a second thread, and two lessons that
# train for a fixed time take no longer than one.
test: $(DEV_STAMP) $(OLD_WIDGETS_STAMP)
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

notebooks: $(DEV_STAMP)
	$(BIN)/python tools/build_notebooks.py

# The explorer in a browser is timed by another command: .venv/bin/python benchmarks/widget_latency.py
benchmarks: $(DEV_STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache

# Says in one sentence what is missing, before anything is installed.
$(VENV_STAMP):
	@command -v '$(PYTHON)' >/dev/null || { \
	  echo 'No program $(PYTHON) was found; install Python 3.10 to 3.13, or name it: make PYTHON=python3.12' >&2; exit 1; }
	@'$(PYTHON)' -c '$(SUPPORTED)' || { \
	  echo "$$('$(PYTHON)' --version 2>&1) is not supported; install Python 3.10 to 3.13 and name it: make PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'This Python cannot make virtual environments; install its venv module (Debian and Ubuntu: sudo apt-get install python3-venv) and run make again.' >&2; exit 1; }
	@# A working .venv is kept; what an interrupted run left is replaced.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 && $(BIN)/python -c '$(SUPPORTED)' || '$(PYTHON)' -m venv --clear .venv
	@touch $@

$(ENV_STAMP): $(VENV_STAMP) $(PINS)
	$(PIP_INSTALL) -e .
	@touch $@

$(DEV_STAMP): $(VENV_STAMP) $(PINS)
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@ $(ENV_STAMP)

# Beside the environment, not in it: tests/test_old_widgets.py runs a kernel that finds them first.
$(OLD_WIDGETS_STAMP): $(VENV_STAMP) tests/old_widgets.txt
	rm -rf .venv/old-widgets
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --target .venv/old-widgets -r tests/old_widgets.txt
	@touch $@
