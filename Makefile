# `make demo` and `make test` work on a fresh clone: each sets up what it needs first. `make check` is all that CI asks of
# a change.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
CODE := etude grammar compiler runtime backends tests benchmarks examples/verdicts.py setup.py
BACKENDS := torch jax
LIBTPU := $(shell sed -n s/^libtpu==//p constraints.txt)
# Two processes of one thread each: more threads than cores make small tensor programs many times slower.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: setup demo test check bench full clean

setup: $(READY)

# Done again when the dependencies change; otherwise there is nothing to do.
$(READY): pyproject.toml setup.py constraints.txt
	@python=$$(.ci/python) && echo "installing into $(VENV) with $$python: once, a few minutes" && $$python -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[all,dev]"
	@test -d $(VENV)/libtpu/libtpu-$(LIBTPU).dist-info || \
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/libtpu libtpu==$(LIBTPU) || \
	echo "there is no libtpu for this machine: what compiles for TPUs is not tested" >&2
	$(BIN)/python -m compileall -q etude grammar compiler runtime backends
	@# What a first run would make once for good: the parser's tables, matplotlib's list of fonts.
	@$(BIN)/etude check examples/gan.etude >/dev/null && $(BIN)/python -c "import matplotlib.font_manager"
	@touch $(READY)

demo: setup
	@examples/demo $(BACKENDS)

test: setup
	$(PYTEST)

check: setup
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(PYTEST)

bench: setup
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

full: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m full

clean:
	rm -rf build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
