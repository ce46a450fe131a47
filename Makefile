# The commands of everyday work. `make help` lists them; each is a line or two.

CARGO ?= cargo
MAYFLY = target/release/mayfly

# Redis, Postgres and S3 are the stack's own unless they are given on make's own command line.
given = $(if $(filter command line,$(origin $(1))),$(2) "$$$(1)")
servers = $(call given,REDIS_URL,--redis-url) $(call given,DATABASE_URL,--database-url) $(call given,S3_ENDPOINT,--s3-endpoint)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Lists what make can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  SCALE="ws-fanout=2 persist-worker=3", MAYFLY_PORT_BASE=9000 and MAYFLY_SECTION__KEY=value change what up and run start.'

.PHONY: build
build:
	@$(CARGO) build --quiet --release --bins

# Stopping must not wait for a build, nor fail with one.
$(MAYFLY):
	@$(CARGO) build --quiet --release --bins

.PHONY: run
run: build ## Starts everything, shows the log, stops everything at Ctrl-C
	@$(MAYFLY) run $(servers)

.PHONY: up
up: build ## Starts everything in the background, or changes what differs
	@$(MAYFLY) up $(servers)

.PHONY: down
down: $(MAYFLY) ## Stops what runs in the background
	@$(MAYFLY) down

.PHONY: status
status: $(MAYFLY) ## Says how everything is
	@$(MAYFLY) status

.PHONY: start
start: $(MAYFLY) ## Starts what was stopped: NAME=persist-worker
	@$(MAYFLY) start $(NAME)

.PHONY: stop
stop: $(MAYFLY) ## Stops one service, redis, postgres or s3: NAME=persist-worker
	@$(MAYFLY) stop $(NAME)

.PHONY: reset
reset: $(MAYFLY) ## Stops everything and deletes its data
	@$(MAYFLY) reset

# Tests mostly wait for processes.
TEST_THREADS ?= 3

# Without backtraces, wherever they are asked for: what a failed test waited for, and what it saw last, stands
# in its own words, which would go under in them.
.PHONY: test
test: build ## Runs all tests, with servers of their own
	@$(MAYFLY) ensure-installed
	RUST_BACKTRACE=0 RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --release --workspace

# Left out is what asks a service itself (its own paths, its own limits of a slow socket), and what nginx, which does not
# pass on what is no HTTP, refuses in its own words.
.PHONY: test-entrance
test-entrance: build ## Runs the end-to-end tests through nginx, as deploy/nginx.conf has it
	@$(MAYFLY) ensure-installed
	MAYFLY_TEST_ENTRANCE=1 $(CARGO) test --release --package mayfly-tests --test e2e -- --test-threads $(TEST_THREADS) \
	    --skip headers:: --skip openapi:: --skip malformed:: --skip live::unread --skip requests_are_counted_by_the_pattern \
	    --skip an_id_that_nothing_has --skip an_inbox_belongs_to_a_username

.PHONY: chaos
chaos: build ## Kills, freezes and cuts everything, in full
	@$(MAYFLY) ensure-installed
	MAYFLY_TEST_FULL=1 $(CARGO) test --release --package mayfly-tests --test e2e -- --test-threads 1 --nocapture kills:: frozen:: outages:: drain:: ledger:: takes:: malformed:: reading:: live:: rollups:: limits:: idempotency:: retried_takes:: stats:: plays:: visits:: hosts:: chartbeat:: keys::

.PHONY: simulate
simulate: build ## Has 100,000 plays counted by the running stack; also: mayfly simulate messages, mayfly simulate walk
	@$(MAYFLY) simulate plays

.PHONY: schemathesis
schemathesis: build ## Holds both APIs against their document with requests made of it (from PyPI)
	@$(MAYFLY) ensure-installed
	@tests/schemathesis/run.sh

.PHONY: check-image
check-image: build ## Runs the binaries as their images would: as nobody, read-only, with nothing else (Linux, root)
	@$(MAYFLY) ensure-installed
	@deploy/check-image.sh target/release

.PHONY: lint
lint: ## Checks form and style
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	@k8s/check.sh

.PHONY: bench
bench: ## Measures, for numbers to publish
	$(CARGO) build --quiet --profile dist --bins
	$(CARGO) run --quiet --profile dist --package mayfly-tests --bin bench

.PHONY: bench-quick
bench-quick: ## Measures in some three minutes
	$(CARGO) build --quiet --profile dist --bins
	$(CARGO) run --quiet --profile dist --package mayfly-tests --bin bench -- quick
