# make demo: restore the sample photo, offline      make test: the whole test suite
# make lint: format, lint, types                    make check: lint and test, what CI runs
# The first of them creates .venv and installs; all it needs is Python 3.11 or newer (PYTHON=...).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PHOTO := sdsr/assets/sample
PYTEST_ARGS ?=

export OMP_WAIT_POLICY ?= passive

.PHONY: demo test lint check install clean
.DEFAULT_GOAL := demo

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sdsr needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1 || true);" \
	       "name another one: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV); this takes a few minutes, once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: export HF_HUB_OFFLINE := 1
demo: $(INSTALLED)
	@rm -rf demo && mkdir demo
	$(BIN)/sdsr upscale $(PHOTO).jpg --output demo/restored.png
	$(BIN)/sdsr compare demo/restored.png --lq $(PHOTO).jpg --hr $(PHOTO)_hq.jpg --output demo/comparison.png
	@echo
	@echo "The photo:       $(PHOTO).jpg"
	@echo "Restored:        demo/restored.png"
	@echo "Side by side:    demo/comparison.png"

test: export OMP_NUM_THREADS := 1
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

check: lint test

clean:
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find sdsr tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
