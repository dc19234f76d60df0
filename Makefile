# Two commands: `make up` runs the whole platform here, `make test` proves it. `make help` lists the rest.
# Targets install what they need themselves, locked; when nothing changed that takes a fraction of a second.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

BIN := .venv/bin
PACKAGES := libs services tools tests
PYTEST := $(BIN)/pytest
GENERATED_TYPES := --typescript web/packages/realtime/src/generated/events.ts
PYTEST_ARGS ?=
# Tests wait for servers more than they compute: three at a time keep two cores busy. Each worker has servers of its own.
TEST_WORKERS ?= 3
IN_PARALLEL = --numprocesses $(TEST_WORKERS) --dist worksteal

# The machine's Python only starts the bootstrap, which says what to do when it is too old or missing.
BOOTSTRAP = command -v python3 >/dev/null || { echo "error: Python 3.11 or newer is needed: install python3" >&2; exit 1; }; \
	python3 tools/devstack/bootstrap.py

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z][a-z-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '%s\n' $(OPTIONAL_HELP) | awk -F: 'NF > 1 { printf "  %-18s %s\n", $$1, $$2 }'

##@ Run
.PHONY: up
up: ## Run everything here: servers, api, worker, two gateways, web app. Ctrl-C stops it
	@$(BOOTSTRAP) && exec $(BIN)/sharedjox-devstack up

.PHONY: down
down: ## Stop what `make up` runs, from another terminal; the data stays
	@if [ -x $(BIN)/sharedjox-devstack ]; then $(BIN)/sharedjox-devstack down; else echo "nothing runs: no .venv"; fi

.PHONY: up-compose
up-compose: require-compose ## The same with docker compose, behind a TLS balancer
	docker compose up --build

.PHONY: doctor
doctor: install ## Say what this machine has and lacks
	@$(BIN)/sharedjox-devstack doctor

##@ Prove
.PHONY: test
test: install-all lint types imports contracts-check web-check ## Everything a laptop can check: lint, types, all test tiers
	$(PYTEST) $(IN_PARALLEL) $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: install ## Unit tests: no servers, seconds
	$(PYTEST) tests/unit $(IN_PARALLEL) $(PYTEST_ARGS)

.PHONY: test-integration
test-integration: install ## Integration tests on embedded Postgres and Redis
	$(PYTEST) tests/integration $(IN_PARALLEL) $(PYTEST_ARGS)

.PHONY: test-e2e
test-e2e: install-all ## The whole stack with pusher-js, laravel-echo and a browser
	$(BIN)/sharedjox-devstack build-web
	$(PYTEST) tests/e2e $(IN_PARALLEL) $(PYTEST_ARGS)

.PHONY: lint
lint: install ## ruff (rules and format) and codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files -z --cached --others --exclude-standard | xargs -0 $(BIN)/codespell

.PHONY: types
types: install ## mypy, strict, packages and tests
	$(BIN)/mypy $(PACKAGES)

.PHONY: imports
imports: install ## Who may import what
	$(BIN)/lint-imports

.PHONY: contracts-check
contracts-check: install ## Fail when a generated file is stale
	$(BIN)/python -m sharedjox_contracts.schema_export --check $(GENERATED_TYPES)
	$(BIN)/python tools/devstack/env_example.py --check

.PHONY: web-check
web-check: install ## Lint, types, tests and budget of the web workspace
	$(BIN)/sharedjox-devstack build-web
	cd web && npm run check

##@ Change
.PHONY: install
install: ## Make .venv and install what requirements.lock names
	@$(BOOTSTRAP)

.PHONY: install-all
install-all:
	@$(BOOTSTRAP) --node

.PHONY: fmt
fmt: install ## Format, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: conformance-table
conformance-table: install ## Write the conformance table of docs/protocol.md anew
	$(BIN)/python -m tests.conformance.conformance_table

.PHONY: problem-codes
problem-codes: install ## Write the table of docs/problem-codes.md anew
	$(BIN)/python -m tests.docs.problem_codes

.PHONY: codegen
codegen: install ## Generate JSON Schema, TypeScript, AsyncAPI and .env.example
	$(BIN)/python -m sharedjox_contracts.schema_export $(GENERATED_TYPES)
	$(BIN)/python tools/devstack/env_example.py

.PHONY: lock
lock: ## Resolve the dependencies anew and write requirements.lock (needs uv)
	@command -v uv >/dev/null || { echo "error: uv is needed to resolve: pip install uv" >&2; exit 1; }
	uv lock --upgrade
	uv export --frozen --no-emit-workspace --format requirements.txt -o requirements.lock
	$(BIN)/python deploy/docker/export_locks.py

.PHONY: clean
clean: ## Remove what was installed, built and cached; the data in .data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-results benchmark-results
	rm -rf web/node_modules web/*/*/node_modules web/*/*/dist tests/e2e/node_modules examples/*/node_modules
	find $(PACKAGES) -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: require-compose
require-compose:
	@docker compose version >/dev/null 2>&1 || \
		{ echo "error: docker with the compose plugin is needed; without it use: make up" >&2; exit 1; }
	@test -f docker-compose.yml || { echo "error: docker-compose.yml is missing in this checkout" >&2; exit 1; }

##@ Measure and break
# A target exists when its program does.
ifneq ($(wildcard tests/faults/.),)
FAULT_ARGS ?=
OPTIONAL_HELP += 'test-faults:Kill, pause, cut and slow every part, 200 times; nothing may be lost'
.PHONY: test-faults
test-faults: install-all
	$(BIN)/python -m tests.faults.chaos $(FAULT_ARGS)

OPTIONAL_HELP += 'test-jitter:A thousand clients that lose their network every 15 s get everything'
.PHONY: test-jitter
test-jitter: install-all
	$(BIN)/python -m tests.faults.jitter $(FAULT_ARGS)

OPTIONAL_HELP += 'test-rolling:Restart all workers and gateways under a thousand clients; nothing may be lost'
.PHONY: test-rolling
test-rolling: install-all
	$(BIN)/python -m tests.faults.rolling $(FAULT_ARGS)

OPTIONAL_HELP += 'test-avalanche:Five thousand clients lose their connections at once, return and recover'
.PHONY: test-avalanche
test-avalanche: install-all
	$(BIN)/python -m tests.faults.avalanche $(FAULT_ARGS)

OPTIONAL_HELP += 'test-stuck:A thousand readers hang; memory stays flat, the others get everything'
.PHONY: test-stuck
test-stuck: install-all
	$(BIN)/python -m tests.faults.stuck $(FAULT_ARGS)
endif

ifneq ($(wildcard tests/faults/soak.py),)
OPTIONAL_HELP += 'soak:The same for an hour, with churn'
.PHONY: soak
soak: install-all
	$(BIN)/python -m tests.faults.soak $(FAULT_ARGS)
endif

ifneq ($(wildcard tests/fuzz/.),)
FUZZ_ARGS ?=
OPTIONAL_HELP += 'fuzz:Over 100,000 malformed handshakes and frames against a gateway that others use'
.PHONY: fuzz
fuzz: install
	$(BIN)/python -m tests.fuzz.live $(FUZZ_ARGS)
endif

ifneq ($(wildcard tests/compose/.),)
OPTIONAL_HELP += 'test-compose:The integration tests against the compose stack'
.PHONY: test-compose
test-compose: install-all require-compose
	$(PYTEST) tests/compose -rP $(PYTEST_ARGS)
endif

ifneq ($(wildcard tests/e2e/screenshots.py),)
OPTIONAL_HELP += 'screenshots:Make the screenshots of the README with a real browser'
.PHONY: screenshots
screenshots: install-all
	$(BIN)/python -m tests.e2e.screenshots
endif

# `make bench-latency` runs tests/benchmarks/latency.py; BENCH_ARGS goes to the program.
BENCH_ARGS ?=
BENCHMARKS := $(foreach name,latency relay fanout connect memory capacity channels http api peers browser,\
	$(if $(wildcard tests/benchmarks/$(name).py),bench-$(name)))
OPTIONAL_HELP += $(foreach name,$(BENCHMARKS),'$(name):Measure (tests/benchmarks/$(name:bench-%=%).py)')
.PHONY: $(BENCHMARKS)
$(BENCHMARKS): bench-%: install-all
	$(BIN)/python -m tests.benchmarks.$* $(BENCH_ARGS)
