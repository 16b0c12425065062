# make install   environment, package, LPIPS weights      make demo    train, measure and draw, in a quarter of an hour
# make test      the same set-up, then the tests          make check   lint, format, types, layers: under a minute

PYTHON ?= python3
PIP_FLAGS ?=
BIN = .venv/bin

# make test-nightly  the loaders under 20,000 damaged files each     make test-crash   100 trainings, each killed three times
# make test-load      the page under many, slow and malformed requests
# make test-matrix   tests on every Python found here               make test-build   what wheel and sdist hold

.PHONY: install demo test check clean test-nightly test-crash test-load test-matrix test-build

install: .venv/installed
	@$(BIN)/wherewhat weights > /dev/null

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e ".[dev]"
	@touch $@

demo: install
	$(BIN)/wherewhat demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

test-nightly: .venv/installed
	WHEREWHAT_EXAMPLES=20000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_fuzz.py

test-crash: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/crash.py

test-load: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/load.py

test-build: .venv/installed
	$(BIN)/python tests/build.py

test-matrix:
	$(PYTHON) tests/matrix.py $(PIP_FLAGS)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build *.egg-info
