# Everything a checkout needs; what is installed stays inside .venv.
PYTHON ?= python3
BIN := .venv/bin
REPORT := runs/quickstart/report.html

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install install-dev demo test slow docs

help:
	@echo "make install       install jaxnas and the pinned versions of what it needs into .venv"
	@echo "make demo          install, then run experiments/quickstart.py: one whole search on this machine"
	@echo "make install-dev   install what tests, linters and the manual need, too"
	@echo "make test          install-dev, then lint, type check and test"
	@echo "make slow          install-dev, then run the slow tests"
	@echo "make docs          install-dev, then build the manual: site/index.html"

install: .venv/.installed

install-dev: .venv/.installed-dev

.venv/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || \
		{ echo "jaxnas needs Python 3.11 or newer with venv: apt install make python3-venv git" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c requirements.lock -e .
	@touch $@
	@echo "Installed: $(BIN)/jaxnas"

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install -c requirements.lock -e ".[dev,tfds,grain]"
	@touch $@

demo: install
	$(BIN)/jaxnas run experiments/quickstart.py
	@echo "The report: $(CURDIR)/$(REPORT)"

test: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist worksteal

slow: install-dev
	$(BIN)/python -m pytest -m slow

docs: install-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The manual: $(CURDIR)/site/index.html"
