# make demo: restore the sample photo, offline      make test: the whole test suite
# make lint: format, lint, types                    make check: lint and test
# .ci/run: what CI runs
# make test-avx2: what depends on a processor's rounding, as one without AVX-512 computes it
# make test-ray: many photos on a Ray cluster of this machine     make test-slow: what takes seconds of a core
# make test-browser: the page of `sdsr serve` in Chromium      make test-service: attacks on it
# make soak: the same for half an hour; then the graphs in other runtimes (npm), 24 megapixels, 200 photos in one process;
#   counts at full size; then a hundred thousand files, ten thousand photos, and ten kills of each kind of batch
# The first of them creates .venv and installs, the demo without torch; all it needs is Python 3.11 or newer (PYTHON=...).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PHOTO := sdsr/assets/sample
PYTEST_ARGS ?=
# Tests run in the order they are written in; with --random-order-seed as below in another, the same for each commit.
ORDER ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo 0)
SHUFFLED := --random-order-bucket=module --random-order-seed=$(ORDER)
# What computes with networks, less what is the same on every processor: sizes, errors, noise, copies.
ROUNDED := tests/adapters tests/discriminators tests/data tests/diffusion tests/losses tests/methods tests/objectives \
  tests/prior tests/restoration tests/test_upscaling.py
CONTRACT := tests/methods/test_contract.py::test_
UNROUNDED := $(addprefix --deselect=$(CONTRACT),damaged_parts parts_of_another_prior photos_of_any_size extreme_photos \
  figures_and_pictures every_trained_parameter the_prior_is_left windows_do_not) \
  $(addprefix --deselect=tests/methods/,test_copies.py test_settings.py)

export OMP_WAIT_POLICY ?= passive
# Modules are compiled once, not in each of the processes that tests start.
test test-avx2 test-slow test-service test-browser test-ray test-runtimes: export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-slow test-browser test-service test-ray test-runtimes test-avx2 soak lint check install clean
.DEFAULT_GOAL := demo

install: $(INSTALLED)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sdsr needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1 || true);" \
	       "name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# what restores with the embedded default; no torch, and what is never imported is not compiled
$(CORE): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV); this takes a minute, once."
	@$(PIP) --no-compile -e .
	@touch $@

# all of it: methods, training, tests
$(INSTALLED): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV); this takes a few minutes, once."
	@$(PIP) -e '.[dev]'
	@touch $(CORE) $@

demo: export HF_HUB_OFFLINE := 1
demo: $(CORE)
	@rm -rf demo && mkdir demo
	$(BIN)/sdsr upscale $(PHOTO).jpg --output demo/restored.png
	$(BIN)/sdsr compare demo/restored.png --lq $(PHOTO).jpg --hr $(PHOTO)_hq.jpg \
	  --crop 240,144,128 --cell 384 --output demo/comparison.png
	@echo
	@echo "The photo:       $(PHOTO).jpg"
	@echo "Restored:        demo/restored.png"
	@echo "Side by side:    demo/comparison.png"

test: export OMP_NUM_THREADS := 1
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

# Threads are two, the order is another: neither may matter.
test-avx2: export OMP_NUM_THREADS := 2
test-avx2: export ONEDNN_MAX_CPU_ISA := AVX2
test-avx2: export ATEN_CPU_CAPABILITY := avx2
test-avx2: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 $(SHUFFLED) $(ROUNDED) $(UNROUNDED) $(PYTEST_ARGS)

# Processes that train together or are killed, legs of a GPU, a whole export, counts at full size: 4 to 30 s of a core each.
test-slow: export OMP_NUM_THREADS := 1
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 -m slow $(PYTEST_ARGS)

# A service killed, flooded and lied to; a part of what asks it is in `make test`.
test-service: export OMP_NUM_THREADS := 1
test-service: $(INSTALLED)
	$(BIN)/python -m pytest -m service tests/web $(PYTEST_ARGS)

# The page in a real browser, Debian's chromium; another one by CHROMIUM=/path/to/it.
test-browser: export OMP_NUM_THREADS := 1
test-browser: $(INSTALLED)
	$(BIN)/python -m pytest -m browser tests/web $(PYTEST_ARGS)

# Many photos on a Ray cluster of this machine, one of its workers killed, in a folder and in a bucket of Moto's server.
test-ray: export OMP_NUM_THREADS := 1
test-ray: $(INSTALLED)
	@$(PIP) -e '.[ray,bucket]'
	@$(PIP) moto flask flask-cors
	$(BIN)/python -m pytest -m ray tests/cli/test_ray.py tests/cli/test_ray_bucket.py $(PYTEST_ARGS)

# The default's graphs in OpenVINO, which must give what ONNX Runtime gives.
test-runtimes: $(INSTALLED)
	@$(PIP) -e '.[fast]'
	$(BIN)/python bench/runtimes.py
	$(BIN)/python -m pytest tests/graphs/test_runtimes.py tests/test_quiet_runtimes.py $(PYTEST_ARGS)

# Half an hour: the start, a hundred clients, ten thousand jobs, Schemathesis. As much: graphs in other runtimes, large photos and many.
# Then batches, for some hours: a hundred thousand files, ten thousand photos, kills.
soak: export OMP_NUM_THREADS := 1
soak: export SCHEMA_SECONDS := 300
soak: $(INSTALLED)
	$(BIN)/python bench/service_start.py
	$(BIN)/python bench/service_soak.py
	$(BIN)/python bench/service_many.py
	$(BIN)/python -m pytest -m service tests/web/test_schema.py
	@$(PIP) -e '.[fast]'
	$(BIN)/python bench/runtimes.py --web
	$(BIN)/python bench/memory.py --megapixels 6 24 --engine onnx
	$(BIN)/python bench/endurance.py --photos 200
	$(BIN)/python -m tests.recorded check complexity
	$(BIN)/python -m tests.recorded check losses
	$(BIN)/python bench/many_files.py
	$(BIN)/python bench/batch_soak.py memory
	$(BIN)/python bench/batch_soak.py overhead
	@$(PIP) -e '.[ray]'
	$(BIN)/python bench/batch_soak.py kills
	$(BIN)/python bench/batch_ray.py

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

check: lint test

clean:
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find sdsr tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
