# Everything a checkout needs; what is installed stays inside .venv.
PYTHON ?= python3
BIN := .venv/bin
REPORT := runs/quickstart/report.html

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test slow docs

help:
	@echo "make install   install jaxnas and the pinned versions of what it needs into .venv"
	@echo "make demo      install, then run experiments/quickstart.py: one whole search on this machine"
	@echo "make test      install, then lint, type check and test"
	@echo "make slow      install, then run the slow tests"
	@echo "make docs      install, then build the manual: site/index.html"

install: .venv/.installed

.venv/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || \
		{ echo "jaxnas needs Python 3.11 or newer with venv: apt install make python3-venv git" >&2; exit 1; }
	@echo "Installing into .venv, about 2 minutes ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq -c requirements.lock -e ".[dev,tfds,grain]"
	@touch $@
	@echo "Installed: $(BIN)/jaxnas"

demo: install
	$(BIN)/jaxnas run experiments/quickstart.py
	@echo "The report: $(CURDIR)/$(REPORT)"

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist worksteal

slow: install
	$(BIN)/python -m pytest -m slow

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The manual: $(CURDIR)/site/index.html"
