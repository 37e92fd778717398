# make demo       the main job, from nothing to a picture
# make test       style, types and all tests but the slow ones
# make test-slow  the long real runs
# make bench      the measurements in benchmarks/ (installs PyTorch, the peer)
#
# Each creates .venv once, with the versions in constraints.txt; after that nothing is downloaded.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -q
UNRESTRICTED := env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE
INPUTS := setup.cfg pyproject.toml constraints.txt

.PHONY: demo test test-slow bench clean

demo: $(VENV)/demo.stamp
	$(BIN)/reflfap run artificial --n-adv 1000 --figure

test: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow"

test-slow: $(VENV)/test.stamp
	$(BIN)/pytest -m slow

bench: $(VENV)/bench.stamp
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.descent
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.attack
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.newton
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.flow
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.sweep
	$(UNRESTRICTED) $(BIN)/python -m benchmarks.loading

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

$(VENV)/bench.stamp: $(VENV)/test.stamp
	$(PIP) -e '.[bench]'
	touch $@
