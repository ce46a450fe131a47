# Development commands. `make help` lists them.

CARGO ?= cargo
MAYFLY = target/release/mayfly

# The binaries to run, out of the whole workspace: selecting packages instead would select other features of the libraries,
# and compile them once more.
BINARIES = --workspace $(addprefix --bin ,ingest-api list-api persist-worker ws-fanout stats-publisher mayfly)

# The stack runs its own Redis, Postgres and S3. Variables on make's command line replace them; the environment does not.
option = $(if $(filter command line,$(origin $(1))),$(2) "$$$(1)")
servers = $(call option,REDIS_URL,--redis-url) $(call option,DATABASE_URL,--database-url) $(call option,S3_ENDPOINT,--s3-endpoint)
apply = $(if $(APPLY),--apply)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables for up and run: SCALE="ws-fanout=2 persist-worker=3", MAYFLY_PORT_BASE=9000, MAYFLY_SECTION__KEY=value,'
	@echo 'APPLY=1 (apply them although variables of the running stack are missing)'

.PHONY: build
build: ## Build all binaries in release mode
	@echo 'Building Mayfly (release)…'
	@$(CARGO) build --release $(BINARIES)

# `make down` and others use an existing binary: they must neither wait for a build nor fail if it fails.
$(MAYFLY):
	@echo 'Building Mayfly (release)…'
	@$(CARGO) build --release $(BINARIES)

.PHONY: run
run: build ## Start the local stack in the foreground, show its log, stop it on Ctrl-C
	@$(MAYFLY) run $(apply) $(servers)

.PHONY: up
up: build ## Start the local stack in the background, or apply changes to it
	@$(MAYFLY) up $(apply) $(servers)

.PHONY: down
down: $(MAYFLY) ## Stop the local stack
	@$(MAYFLY) down

.PHONY: status
status: $(MAYFLY) ## Show the status of every process
	@$(MAYFLY) status

.PHONY: start
start: $(MAYFLY) ## Start a stopped service or server: NAME=persist-worker
	@$(MAYFLY) start $(NAME)

.PHONY: stop
stop: $(MAYFLY) ## Stop a service, redis, postgres or s3: NAME=persist-worker
	@$(MAYFLY) stop $(NAME)

.PHONY: reset
reset: $(MAYFLY) ## Stop the local stack and delete its data; ask first on a terminal
	@if [ -t 0 ] && [ -t 2 ]; then $(MAYFLY) reset; else $(MAYFLY) reset --yes; fi

# More threads than cores, because many tests wait for an interval or a process to exit.
TEST_THREADS ?= 6

# Backtraces are off, because they would obscure the message of a failed test.
.PHONY: test
test: build ## Run all tests
	@$(MAYFLY) ensure-installed
	RUST_BACKTRACE=0 RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --release --workspace

# All but the end-to-end tests. They start their own Redis and Postgres, and need no binaries.
CHECKED = --lib --bins $(addprefix --test ,api architecture postgres process redis rights stack)
.PHONY: check
check: ## Check the format and lints, and run the unit and crate tests
	@echo 'Checking the format, the lints, and the unit and crate tests…'
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	@crates/stack/install-dependencies.sh redis postgres
	RUST_BACKTRACE=0 $(CARGO) test --release --workspace $(CHECKED)

# Skipped: tests of paths, socket limits and response times of the service itself, and of malformed and slow requests
# that nginx rejects.
.PHONY: test-entrance
test-entrance: build ## Run the end-to-end tests through nginx with deploy/nginx.conf
	@$(MAYFLY) ensure-installed
	MAYFLY_TEST_PROXY=1 $(CARGO) test --release --workspace --test e2e -- --test-threads $(TEST_THREADS) \
	    --skip headers:: --skip openapi:: --skip malformed:: --skip live::back_pressure::unread --skip abuse:: --skip timing:: --skip requests_are_counted_by_route \
	    --skip unknown_id_returns_404 --skip inbox_is_matched_by_the_exact_username

.PHONY: chaos
chaos: build ## Run the fault tests in full: killed, frozen and disconnected processes
	@$(MAYFLY) ensure-installed
	MAYFLY_TEST_FULL=1 $(CARGO) test --release --workspace --test e2e -- --test-threads 1 --nocapture kills:: frozen:: outages:: drain:: ledger:: takes:: malformed:: reading:: live:: rollups:: limits:: idempotency:: retried_takes:: stats:: plays:: visits:: hosts:: chartbeat:: keys:: tokens:: access:: abuse::
	MAYFLY_TEST_FULL=1 $(CARGO) test --release --workspace --test rights

.PHONY: simulate
simulate: build ## Simulate 100,000 video plays on the running stack (see also: mayfly simulate --help)
	@$(MAYFLY) simulate plays

.PHONY: schemathesis
schemathesis: build ## Test both APIs against their OpenAPI document with generated requests (Schemathesis from PyPI)
	@$(MAYFLY) ensure-installed
	@tests/schemathesis/run.sh

.PHONY: check-image
check-image: build ## Run the binaries as in their container images: unprivileged, on a read-only root (Linux, root)
	@$(MAYFLY) ensure-installed
	@deploy/check-image.sh target/release

# In CI, clippy is the compiler, so building everything checks the lints, and the tests need no other build.
LINTED = --release --workspace --all-targets
lints = $(if $(filter clippy-driver,$(RUSTC_WORKSPACE_WRAPPER)),build $(LINTED),clippy $(LINTED) -- -D warnings)
.PHONY: lint
lint: ## Check the format, lints, dependencies, manifests and web files
	@echo 'Checking the format, lints, dependencies, manifests and web files…'
	$(CARGO) fmt --all --check
	@.ci/check-dependencies.sh
	$(CARGO) $(lints)
	@k8s/check.sh
	@web/check.sh

.PHONY: advisories
advisories: ## Fetch the database of known vulnerabilities from GitHub, and check the dependencies
	@.ci/check-dependencies.sh --fetch

.PHONY: bench
bench: ## Run the benchmarks, for numbers to publish (KEYS=1: with and without API keys)
	@echo 'Building Mayfly (dist)…'
	@$(CARGO) build --profile dist $(BINARIES) --bin bench
	target/dist/bench $(if $(KEYS),--keys)

.PHONY: bench-quick
bench-quick: ## Run shorter benchmarks, in about three minutes (KEYS=1: with and without API keys)
	@echo 'Building Mayfly (dist)…'
	@$(CARGO) build --profile dist $(BINARIES) --bin bench
	target/dist/bench quick $(if $(KEYS),--keys)
