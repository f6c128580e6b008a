# Everything a newcomer or a contributor runs. 'make' alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What the caller's shell has activated stays outside.
# PYTHONDONTWRITEBYTECODE too: each of the hundreds of processes that tests start would compile headrace anew.
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH PYTHONSTARTUP VIRTUAL_ENV

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@echo "make TARGET        PYTHON=/path/to/python chooses the interpreter (3.11 or newer), ARGS=... goes to pytest"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

# --- set up and try --------------------------------------------------------------------------------------

.PHONY: install
install: $(STAMP) ## set up .venv: headrace, mlflow, scikit-learn and the test tools, all pinned
	@:

# A .venv that was made in another place (a clone that was moved) is made anew.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif
$(STAMP): pyproject.toml constraints.txt tools/setup.sh
	@sh tools/setup.sh "$(PYTHON)" "$(VENV)"
	@pwd -P >$@

# One process in the foreground: Ctrl-C reaches the demo, which ends its children and then itself with 0.
.PHONY: demo
demo: install ## train two news models on real data, register and serve them; Ctrl-C ends it
	@PYTHONPATH=examples exec $(BIN)/python -m news.demo

# --- check -----------------------------------------------------------------------------------------------

# Three at a time, for two processors: most tests wait now and then, for a process or for time to pass. A file is run by
# one, in the order of tests/conftest.py. JOBS=0 runs them one after another.
JOBS ?= 3

# mypy works beside the tests, for most of a minute, and what it found is told after them; `make types` tells it at once.
.PHONY: test
test: lint ## all checks and all tests
	@mkdir -p .mypy_cache
	@$(BIN)/mypy >.mypy_cache/told 2>&1 & mypy=$$!; \
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --durations 20 $(ARGS); tests=$$?; \
	wait $$mypy || { cat .mypy_cache/told; exit 1; }; \
	exit $$tests

.PHONY: unit
unit: install ## the tests that start no processes: seconds
	@$(BIN)/python -m pytest $(wildcard tests/unit tests/properties) $(ARGS)

.PHONY: nightly
nightly: install ## the tests that 'make test' leaves out: minutes each, and 10,000 requests compared with MLflow
	@$(BIN)/python -m pytest -m slow $(ARGS)
	@HEADRACE_DIFFERENTIAL_EXAMPLES=10000 $(BIN)/python -m pytest --timeout 3600 tests/properties/test_scoring.py

.PHONY: test-containers
test-containers: install ## the images and the compose stack with a real Docker; minutes. ARGS=--pull, --keep, --seconds=N
	@$(BIN)/python deploy/test/run $(ARGS)

.PHONY: manifests
manifests: install ## the Kubernetes manifests and what Helm renders, by the schemas of Kubernetes' API (Kustomize's and the operator's are not there)
	@rm -rf .cache/chart
	@$(BIN)/uv run --quiet --python $(BIN)/python --script tools/chart.py check .cache/chart
	@$(BIN)/uv tool run --quiet --from kubernetes-validate==1.37.0 kubernetes-validate --strict $(wildcard deploy/kubernetes/*.yaml) \
	    .cache/chart/*.yaml
	@$(BIN)/python -m pytest -m chart tests/chart

.PHONY: fuzz
fuzz: install ## feed the port, gRPC, the wire, the control channels and a worker's parsers with what coverage finds, a minute each
	@$(BIN)/uv pip install --quiet atheris==3.0.0
	@$(call fuzz,port,-max_len=700 -rss_limit_mb=512)
	@$(call fuzz,wire,-rss_limit_mb=512)
	@$(call fuzz,channels,-rss_limit_mb=512)
	@$(call fuzz,parsers,-rss_limit_mb=1024)
	@$(call fuzz,grpc,-rss_limit_mb=1024)

# One target: what it needs of memory (MB) and seconds for one input is a bound that fails it.
FUZZ_S ?= 60
fuzz = mkdir -p .cache/fuzz/$(1) && $(BIN)/python fuzz/fuzz_$(1).py -max_total_time=$(FUZZ_S) -timeout=20 $(2) \
	-artifact_prefix=.cache/fuzz/$(1)- .cache/fuzz/$(1) $(wildcard fuzz/seeds/$(1))

.PHONY: lint
lint: install ## ruff, which package may import which, and the bounds of the structure
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/structure.py

.PHONY: types
types: install ## mypy, strict
	@$(BIN)/mypy

.PHONY: format
format: install ## let ruff repair and format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# --- measure ---------------------------------------------------------------------------------------------

.PHONY: bench
bench: install ## headrace beside its peers: installs them, measures, writes docs/benchmarks; ARGS=--quick takes minutes
	@$(BIN)/python benchmarks/beside $(ARGS)

KINDS := .bench/kinds-env
$(KINDS)/.installed: benchmarks/kinds/requirements.txt pyproject.toml
	@$(BIN)/python -m venv $(KINDS)
	@$(KINDS)/bin/pip install --quiet -r benchmarks/kinds/requirements.txt
	@touch $@

.PHONY: bench-kinds
bench-kinds: install $(KINDS)/.installed ## headrace beside MLflow's server for 16 kinds of model; 4 GB of libraries
	@$(KINDS)/bin/pip install --quiet .
	@mkdir -p .bench
	@$(KINDS)/bin/python benchmarks/kinds --out .bench/kinds.md $(ARGS)

# --- build -----------------------------------------------------------------------------------------------

.PHONY: wheel
wheel: install ## build dist/*.whl
	@rm -rf dist
	@$(BIN)/python -m hatchling build --target wheel

# The site has tools of its own, pinned in tools/docs_site.txt: they are not in .venv.
.PHONY: docs
docs: install ## build the documentation site into build/site; a link that leads nowhere fails it
	@$(BIN)/python tools/docs_site.py build/docs
	@$(BIN)/uv run --quiet --python $(BIN)/python --no-project --isolated --with-requirements tools/docs_site.txt zensical build --clean --strict
	@echo "build/site/index.html; with search: $(BIN)/python -m http.server --directory build/site --bind 127.0.0.1 8000"

.PHONY: docs-requirements
docs-requirements: install ## pin the newest versions of what the site is built with
	@$(BIN)/uv pip compile tools/docs_site.in --output-file tools/docs_site.txt --upgrade --quiet --universal \
	    --python-version 3.11 --generate-hashes --annotation-style line --custom-compile-command 'make docs-requirements'

# The time in both archives is that of the commit, so that whoever builds it gets the same bytes.
DIST_TIME = $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)

.PHONY: dist
dist: install ## build dist/*.whl and *.tar.gz as for a release: twice, the bytes compared, and checked by twine
	@rm -rf dist build/again
	@SOURCE_DATE_EPOCH=$(DIST_TIME) $(BIN)/python -m hatchling build --target wheel --target sdist
	@SOURCE_DATE_EPOCH=$(DIST_TIME) $(BIN)/python -m hatchling build --target wheel --target sdist --directory build/again
	@for file in dist/*; do cmp "$$file" "build/again/$${file##*/}" || exit 1; done
	@$(BIN)/uv tool run --quiet --from twine==7.0.0 twine check --strict dist/*

.PHONY: try-wheel
try-wheel: dist ## install the wheel into an environment of its own for each Python, and serve a model from there
	@$(BIN)/python tools/try_wheel.py dist/*.whl 3.11 3.12 3.13

.PHONY: constraints
constraints: install ## pin the newest versions that pyproject.toml allows
	@$(BIN)/uv pip compile pyproject.toml $(foreach extra,full redis parquet otel grpc,--extra $(extra)) --group dev --output-file constraints.txt --upgrade --quiet \
	    --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --annotation-style line \
	    --custom-compile-command 'make constraints'

.PHONY: protos
protos: install ## compile the messages of gRPC to what the gateway reads when it starts
	@cd src/headrace/gateway/grpc/protos && $(CURDIR)/$(BIN)/uv tool run --quiet --from grpcio-tools==1.85.1 \
	    python -m grpc_tools.protoc -I . --descriptor_set_out=protos.binpb *.proto

.PHONY: settings
settings: install ## write docs/settings.md, and what the Helm chart's schema says of config, from the configuration's tree
	@$(BIN)/python tools/settings_page.py
	@$(BIN)/python tools/chart_schema.py

.PHONY: metrics
metrics: install ## write docs/metrics.md from the metrics' definitions, and the Grafana dashboard
	@$(BIN)/python tools/metrics_page.py
	@$(BIN)/python tools/grafana_dashboard.py

.PHONY: clean
clean: ## remove .venv, the demo's data, builds and caches
	rm -rf .venv .demo .bench .headrace build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests examples tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
