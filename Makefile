# Each target sets up what it needs: CPython 3.11 or newer is enough.
#
#   make demo     find, train and test a network for handwritten digits (runs/demo)
#   make test     the quick tests
#   make check    lint, format and types
#   make docs     the documents as a site (site/)
#
# A machine with its own torch (a CUDA build, say):  make demo TORCH=system

VENV      ?= .venv
PYTHON    ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(p) 2>/dev/null)))
TORCH     ?= pinned
PIP_FLAGS ?=
PYTEST_FLAGS ?=
ARENA_FLAGS ?=
GALLERY_FLAGS ?=

BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check format bench arena gallery slow chaos cluster gpu browser wheel reference docs captures clean help
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(STAMP) ## find, train and test a network for handwritten digits
	$(BIN)/evolve run runs/demo.toml

# Two processes: the quick suite is many small tests, and more would only fight over the cores of a laptop.
test: $(STAMP) ## the quick tests, some four minutes on two cores
	$(BIN)/pytest -q -n 2 --dist worksteal $(PYTEST_FLAGS)

check: $(STAMP) ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## rewrite the code as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slow: $(VENV)/.extras ## the tests that take minutes, and those of what is optional
	$(BIN)/pytest -q -m slow -n 2 --dist worksteal $(PYTEST_FLAGS)

chaos: $(STAMP) ## kills, torn files, full disks
	$(BIN)/pytest -q -m chaos -n 2 --dist worksteal $(PYTEST_FLAGS)

cluster: $(VENV)/.cluster ## a Ray cluster and other executors of several processes on this machine, some of them killed
	$(BIN)/pytest -q -m cluster $(PYTEST_FLAGS)

gpu: $(STAMP) ## the tests that need a CUDA device
	$(BIN)/pytest -q -m gpu $(PYTEST_FLAGS)

browser: $(VENV)/.browser ## the report in a headless Chromium, with axe-core; needs chromium and npm
	$(BIN)/pytest -q -m browser $(PYTEST_FLAGS)

wheel: $(STAMP) ## build the wheel and try it in an empty environment
	$(BIN)/pytest -q -m wheel $(PYTEST_FLAGS)

bench: $(STAMP) ## benchmarks, their figures printed
	$(BIN)/pytest -q -p no:xdist -o python_files='bench_*.py' -m '' --benchmark-only tests/bench $(PYTEST_FLAGS)

arena: $(STAMP) ## searches beside other models on real data: what is not measured yet, hours the first time
	$(BIN)/python -m tests.bench.arena $(ARENA_FLAGS)

gallery: $(STAMP) ## write docs/gallery.md from the grammars and their seeds
	$(BIN)/python -m tests.bench.gallery $(GALLERY_FLAGS)

reference: $(STAMP) ## write docs/cli.md, docs/config.md and docs/layers.md from the code
	$(BIN)/python docs/reference.py

docs: $(STAMP) ## the pages of docs/ as a site, in site/; a broken link is an error
	$(BIN)/zensical build --strict --clean
	rm -f site/*.py

captures: $(STAMP) ## draw docs/captures/ from a real terminal; needs tmux, takes some minutes
	$(BIN)/python docs/captures.py

clean: ## remove caches and build outputs; runs/ and the environment stay
	rm -rf build dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The stamp is newer than what it was made from, so an environment is made once and made again when its pins change.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no python3 found; install CPython 3.11 or newer, or say make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11; say make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(if $(filter system,$(TORCH)),--system-site-packages) $(VENV)
	@grep -v '^#' constraints.txt $(if $(filter system,$(TORCH)),| grep -v '^torch==') > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --constraint $(VENV)/constraints.txt --editable '.[dev]'
	@touch $@

# The browser's tests want a driver, and axe-core to look for what keeps people out.
$(VENV)/.browser: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --constraint $(VENV)/constraints.txt --editable '.[dev,browser]'
	@command -v npm > /dev/null && npm install --silent --no-save --prefix $(VENV)/axe axe-core@4 || echo "make: no axe-core without npm; its tests are skipped"
	@touch $@

# The clusters' tests want what starts them.
$(VENV)/.cluster: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --constraint $(VENV)/constraints.txt --editable '.[dev,ray,dask,slurm]'
	@touch $@

# The exports' tests want all formats, those of the logs all that can be written to.
$(VENV)/.extras: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --constraint $(VENV)/constraints.txt --editable '.[dev,onnx,mlflow,wandb]'
	@touch $@
