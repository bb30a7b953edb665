# Everything starts here; `make` alone says what there is.
.DEFAULT_GOAL := help
VENV := .venv/bin
# Which NATS and PostgreSQL the integration tests use; `BACKENDS=wheels` needs no container engine.
BACKENDS ?= wheels,containers
BENCHES := $(patsubst tests/bench/%.py,%,$(wildcard tests/bench/[a-z]*.py))
export PYTHON

.PHONY: help up down test lint bench bootstrap

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: bootstrap ## Build what is missing and start a cluster on this machine
	@$(VENV)/hcs up $(if $(PORT_BASE),--port-base $(PORT_BASE))
	@echo
	@echo 'Try:'
	@echo '  eval "$$($(VENV)/hcs env)"'
	@echo '  hcs inventory'
	@echo '  kubectl apply -f docs/examples/basic.yaml'
	@echo '  hcs watch'
	@echo '  make down'
	@echo 'README.md goes on from there.'

down: ## Stop the cluster; its data stays
	@$(VENV)/hcs down

test: bootstrap ## Run all tests (ARGS="-k name" for some; BACKENDS=wheels without containers)
	@case $(BACKENDS) in *containers*) $(VENV)/python -m tests.support.containers_engine; esac
	@$(VENV)/python -m pytest --backends=$(BACKENDS) $(ARGS)

lint: bootstrap ## Check style, types and layers
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports

bench: bootstrap ## Run all benchmarks, or one: make bench BENCH=name
	@for name in $(or $(BENCH),$(BENCHES)); do $(VENV)/python -m tests.bench.$$name || exit; done

bootstrap:
	@deploy/local/bootstrap.sh
