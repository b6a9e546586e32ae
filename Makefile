# Media Gateway. `make` lists the targets. Needs Python >= 3.11 and make; everything else is installed into .venv.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help up install install-dev test test-backends lint types contracts pytest docs crds charts bench lock clean cluster-up cluster-down images e2e soak

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt

$(VENV)/.runtime: $(UV) requirements/runtime.txt pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/runtime.txt
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/build.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

install: $(VENV)/.runtime ## Install what `make up` needs into .venv

install-dev: $(VENV)/.dev ## Install the development tools too

up: install ## Start everything on this machine with the demo catalogue (ARGS="--no-demo" and so on)
	$(BIN)/media-gateway up $(ARGS)

test: lint types contracts pytest docs ## Lint, types, import contracts, tests on embedded real servers, docs drift

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@test ! -e operator/__init__.py || { echo "operator/__init__.py would shadow the standard library"; exit 1; }

types: install-dev
	$(BIN)/mypy

contracts: install-dev
	$(BIN)/lint-imports

pytest: install-dev
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m 'not backends and not cluster' $(ARGS)

docs: install-dev
	$(BIN)/python -m media_gateway.cli.reference --check docs/configuration.md
	$(BIN)/python -m media_gateway_operator.crds --check crds
	$(BIN)/python -m scripts.charts --check

charts: install-dev ## Renew what the charts generate from values.yaml and crds/, and test them (builds helm if there is none)
	$(BIN)/python -m scripts.charts
	MEDIA_GATEWAY_TEST_HELM="$$($(BIN)/python -m tests.charts.helm)" $(BIN)/pytest tests/charts

crds: install-dev ## Renew crds/*.yaml from the models of the custom resources
	$(BIN)/python -m media_gateway_operator.crds crds
	$(BIN)/python -m scripts.charts

# Nothing to fetch when the broker is somebody else's.
KAFKA_JARS := $(if $(MEDIA_GATEWAY_TEST_KAFKA_URL),,.backends/kafka)

.backends/kafka: scripts/kafka/pom.xml
	mvn --quiet --batch-mode -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$@

test-backends: install-dev $(KAFKA_JARS) ## Contract suites on Apache Kafka (Java and Maven needed) and on servers given by URL
	$(BIN)/pytest -m backends $(ARGS)

cluster-up: install-dev ## Start a Kubernetes of this clone's own on this machine (root on Debian; no Docker)
	$(BIN)/python -m tests.cluster.machine up $(ARGS)

cluster-down: install-dev ## Take it down; nothing but its logs is left
	$(BIN)/python -m tests.cluster.machine down

images: install-dev ## Build every container image (IMAGES="discovery operator" for some)
	$(BIN)/python -m tests.cluster.images $(IMAGES)

e2e: install-dev ## Tests on a real cluster: KUBECONFIG, kind, or this machine (root on Debian)
	$(BIN)/pytest tests/cluster -n 2 --no-loadscope-reorder -m 'cluster and not soak' --reruns 2 $(ARGS)

soak: install-dev ## The long sweeps on a real cluster
	$(BIN)/pytest tests/cluster -m soak $(ARGS)

bench: install-dev ## Benchmarks beside their floors (NAME=upsert for one, WRITE=1 to renew docs/benchmarks.md)
	$(BIN)/python benchmarks/run.py $(if $(WRITE),--write) $(if $(ARGS),--options="$(ARGS)") $(subst |, ,$(NAME))

lock: install-dev ## Renew the hashed requirement files
	scripts/lock $(UV)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
