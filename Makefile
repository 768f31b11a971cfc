# Two commands on a fresh machine (Python ≥ 3.11, git, make): `make grok`, `make test`.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# One worker per core, two at the most: each compiles with threads of its own.
WORKERS ?= 2

# JAX's persistent compilation cache: the second run of a program does not compile.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.5

.PHONY: help grok test test-thorough test-all coverage mutation lint bench reproduction docs site lowest package clean

help:
	@echo "make grok      set up, then the main job: x·y mod 97, filter and decay told apart"
	@echo "make test      set up, then the quick tests: minutes"
	@echo "make test-thorough  set up, then tests of some seconds each; CI runs both"
	@echo "               (real data: from GROKFAST_DATA, by default ../shared/data)"
	@echo "make test-all  set up, then all tests"
	@echo "make coverage  set up, then the library's tests: all its lines and branches"
	@echo "make mutation  set up, then change each operator of the library: tests must fail"
	@echo "make lint      set up, then ruff and mypy"
	@echo "make bench     set up, then time everything; writes benchmarks/RESULTS.md"
	@echo "make reproduction  set up, then filter × decay: writes docs/studies (3 hours)"
	@echo "make docs      run the sessions of docs/cli.md and write it anew"
	@echo "make site      set up, then build the site, strictly: build/site/html"
	@echo "make lowest    tests with the lowest versions that pyproject.toml allows"
	@echo "make package   set up, then build dist/ and try it in empty environments: minutes"

grok: $(VENV)/installed
	$(RUN) -m experiments grok

# Most of the time goes into compiling tiny programs: quickly, for these two.
TEST = XLA_FLAGS="$$XLA_FLAGS $$($(RUN) tests/support/xla_flags.py)" $(RUN) -m pytest

test: $(VENV)/installed
	$(TEST) -n $(WORKERS) -m "not slow and not thorough"

test-thorough: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable ".[thorough]"
	$(TEST) -n $(WORKERS) -m "thorough and not slow"

test-all: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable ".[thorough]"
	$(RUN) -m pytest -n $(WORKERS)

coverage: $(VENV)/installed
	$(RUN) -m pytest -n $(WORKERS) -m "not slow" --cov=grokfast_jax --cov-branch \
	    --cov-report=term-missing --cov-fail-under=100 grokfast_jax \
	    $(addprefix tests/library/test_,$(addsuffix .py,filters arguments guard linear response \
	    linearity special_cases paths optimizers linesearch sharding optax_contract \
	    optax_wrappers long_and_resumed_runs))

mutation: $(VENV)/installed
	WORKERS=$(WORKERS) $(RUN) -m tests.library.mutation

lint: $(VENV)/installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

bench: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable ".[bench]"
	$(RUN) -m benchmarks.run

reproduction: $(VENV)/installed
	$(RUN) -m experiments reproduce

docs: $(VENV)/installed
	$(RUN) docs/transcripts.py

site: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable ".[site]"
	$(RUN) docs/site/build.py

lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade pip uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python \
	    --resolution lowest-direct --editable ".[experiments,test]"
	.venv-lowest/bin/python -m pytest -n $(WORKERS) -m "not slow"

package: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable ".[release]"
	rm -rf dist
	$(RUN) -m build --outdir dist .
	$(RUN) -m twine check --strict dist/*
	GROKFAST_DIST=dist $(RUN) -m pytest -p no:xdist tests/test_package.py

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf build $(VENV) .venv-lowest .cache .pytest_cache .mypy_cache .ruff_cache
