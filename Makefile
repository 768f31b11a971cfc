# Two commands on a fresh machine (Python ≥ 3.11, git, make): `make grok`, `make test`.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# One worker per core, two at the most: each compiles with threads of its own.
WORKERS ?= 2

# JAX's persistent compilation cache: the second run of a program does not compile.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.5

.PHONY: help grok test test-all coverage mutation lint bench reproduction docs lowest clean

help:
	@echo "make grok      set up, then the main job: x·y mod 97 with and without Grokfast"
	@echo "make test      set up, then all tests but the slow ones"
	@echo "make test-all  set up, then all tests"
	@echo "make coverage  set up, then the library's tests: all its lines and branches"
	@echo "make mutation  set up, then change each operator of the library: tests must fail"
	@echo "make lint      set up, then ruff and mypy"
	@echo "make bench     set up, then time everything; writes benchmarks/RESULTS.md"
	@echo "make reproduction  set up, then filter × decay: writes REPRODUCTION.md (2 hours)"
	@echo "make docs      run the sessions of docs/cli.md and write it anew"
	@echo "make lowest    tests with the lowest versions that pyproject.toml allows"

grok: $(VENV)/installed
	$(RUN) -m experiments grok

# Most of the time goes into compiling tiny programs: quickly, for the quick tests.
test: export XLA_FLAGS += --xla_backend_optimization_level=0
test: $(VENV)/installed
	$(RUN) -m pytest -n $(WORKERS) -m "not slow"

test-all: $(VENV)/installed
	$(RUN) -m pytest -n $(WORKERS)

coverage: $(VENV)/installed
	$(RUN) -m pytest -n $(WORKERS) -m "not slow" --cov=grokfast_jax --cov-branch \
	    --cov-report=term-missing --cov-fail-under=100 grokfast_jax \
	    $(addprefix tests/library/test_,$(addsuffix .py,filters arguments guard linear response \
	    linearity special_cases paths optimizers sharding optax_contract \
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

lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade pip uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python \
	    --resolution lowest-direct --editable ".[experiments,test]"
	.venv-lowest/bin/python -m pytest -n $(WORKERS) -m "not slow"

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .venv-lowest .cache .pytest_cache .mypy_cache .ruff_cache
