# make install   environment, package, LPIPS weights      make demo    train, measure and draw, in a quarter of an hour
# make test      the same set-up, then the tests          make check   lint, format, types, layers: under a minute

PYTHON ?= python3
PIP_FLAGS ?=
BIN = .venv/bin

.PHONY: install demo test check clean

install: .venv/installed
	@$(BIN)/wherewhat weights > /dev/null

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e ".[dev]"
	@touch $@

demo: install
	$(BIN)/wherewhat demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build *.egg-info
