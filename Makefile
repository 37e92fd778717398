# make demo         the main job, from nothing to a picture
# make test         style, types and all tests but the slow ones
# make test-all     these, then the slow ones: long real runs, mutations, parity with PyTorch
# make test-faults  kills, damage, bad options, full disks: 13,000 trials in 20 minutes, a table
# make docs         the documentation as a site that needs no network: build/docs/index.html
# make bench        the measurements in benchmarks/ (installs PyTorch, the peer)
# make test-gpu     the tests on CuPy too, where there is an NVIDIA GPU; CUDA=12 for an older driver
# make bench-gpu    what a GPU does, in eight minutes: sealed records in gpu-record/
#
# Each creates .venv once, with the versions in constraints.txt; after that nothing is downloaded.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# compat: a path, which a folder of the name beside a user's script does not hide
PIP := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install \
    -q --config-settings editable_mode=compat
# test files side by side, a BLAS thread each: products this small gain nothing from two
SIDE_BY_SIDE := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile
UNRESTRICTED := env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE
CUDA ?= 13
INPUTS := setup.cfg pyproject.toml constraints.txt

.PHONY: demo test test-slow test-all test-faults docs bench test-gpu bench-gpu clean

demo: $(VENV)/demo.stamp
	$(BIN)/reflfap run artificial --n-adv 1000 --figure

test: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(SIDE_BY_SIDE) -m "not slow"

test-all: test test-slow

# parity needs the peer, PyTorch; one of the tests builds the site
test-slow: $(VENV)/bench.stamp $(VENV)/docs.stamp
	$(SIDE_BY_SIDE) -m "slow or torch"

test-faults: $(VENV)/test.stamp
	PYTHONPATH=tests:tests/support $(BIN)/python -m faults

docs: $(VENV)/docs.stamp
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -b html docs build/docs
	@echo "the documentation: $(CURDIR)/build/docs/index.html"

bench: $(VENV)/bench.stamp
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.descent
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.attack
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.newton
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.flow
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.sweep
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.loading
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.deep

test-gpu: $(VENV)/gpu-$(CUDA).stamp
	$(BIN)/pytest -m "not slow"

bench-gpu: $(VENV)/gpu-$(CUDA).stamp
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.gpu_record --out gpu-record
	$(BIN)/python -m benchmarks.gpu_record.page gpu-record > gpu-record/record.md

clean:
	rm -rf $(VENV)

# A stamp is written last, so an interrupted installation starts again from an empty environment.
$(VENV)/demo.stamp: $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "reflfap needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	    || { echo "this Python lacks venv: install it (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(PIP) -e '.[test]'
	touch $@

$(VENV)/docs.stamp: $(VENV)/demo.stamp
	$(PIP) -e '.[docs]'
	touch $@

$(VENV)/bench.stamp: $(VENV)/test.stamp
	$(PIP) -e '.[bench]'
	touch $@

# Wheels for CUDA 12 and 13 fill the same folder, so the other one goes first.
$(VENV)/gpu-$(CUDA).stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip uninstall -q -y cupy-cuda12x cupy-cuda13x
	rm -f $(VENV)/gpu-*.stamp
	$(PIP) 'cupy-cuda$(CUDA)x[ctk]'
	touch $@
