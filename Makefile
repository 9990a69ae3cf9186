# Everything below sets itself up: a machine needs Python 3.11 or newer, make, and the package index.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PORT ?= 8000
ROUNDS ?= 5
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo serve test test-slow check format bench bench-pool bench-eval lock clean
.DELETE_ON_ERROR:

demo: $(READY) ## a whole competition on real images, on this machine
	$(BIN)/python -m demo

serve: $(READY) ## show the finished demo's site
	$(BIN)/python -m demo serve --port $(PORT)

test: $(READY) ## all tests but the slow ones; what needs an absent program is skipped visibly
	$(PYTEST) -m "not slow"
	@echo "Left out: the slow tests (killed workers, hostile entries, clusters, ...). make test-slow runs them, and so does CI."

test-slow: $(READY) ## the slow tests
	$(PYTEST) -m slow

check: $(READY) ## style, types, architecture, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/leaderboard/test_migrations.py

bench: $(READY) ## measure side by side; BENCHMARKS.md keeps the figures
	$(BIN)/python -m bench

bench-pool: $(READY) ## pools at scale; PEERS=DIR (see bench/pool.py) puts the original programs beside ours
	$(BIN)/python -m bench.pool --rounds $(ROUNDS) $(if $(PEERS),--peers "$(PEERS)")

bench-eval: $(READY) ## evaluations; PEERS=DIR (see bench/evaluation.py) puts the original programs beside ours
	$(BIN)/python -m bench.evaluation --rounds $(ROUNDS) $(if $(PEERS),--peers "$(PEERS)")
	$(BIN)/python -m bench.knn --rounds $(ROUNDS) $(if $(PEERS),--peers "$(PEERS)")
	$(BIN)/python -m bench.linear_probe --rounds $(ROUNDS)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(UV) ## resolve the exact versions anew
	$(UV) pip compile --quiet pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) .uv build

# Bytecode is compiled at installation: uncompiled, importing torch and open_clip takes twice as long.
$(READY): requirements.lock pyproject.toml hatch_build.py $(wildcard native/*) | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "DataCup needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.11" >&2; exit 1; }
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	$(UV) pip install --quiet --no-deps --python $(BIN)/python --editable .
	@touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv
