# PayFlow: the few commands people use. `make help` lists them.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench bench-criterion bench-programs bench-admission bench-packet-in bench-flood bench-install bench-vouchers bench-purchases bench-finality bench-api bench-summary fuzz lint

help: ## Lists these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs what is missing (Open vSwitch, Mininet, ...) on Debian or Ubuntu
	@scripts/setup.sh

demo: setup ## The main job on an emulated network; writes target/demo/report.json and plots
	$(CARGO) build --workspace --bins
	target/debug/payflow-lab demo

# The simulation must find faults that are planted in the core on purpose. The whole workspace chooses the features of
# dependencies, here as below, so that those are built once.
PLANTED := --workspace --features payflow-emulation/planted-faults --test planted

# End-to-end tests start the built programs, so those come first. Labs run as root: through sudo when the user is not.
test: setup ## Every test, those on Mininet and Open vSwitch included
	cd examples/python && python3 -m unittest discover -q -s tests -t .
	$(CARGO) build --workspace --lib --bins --tests
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then echo "$(CARGO) test --doc, $(CARGO) nextest run"; \
	    $(CARGO) test --workspace --doc --quiet && $(CARGO) nextest run $(PLANTED) && $(CARGO) nextest run --workspace; \
	else echo "$(CARGO) test --workspace"; $(CARGO) test $(PLANTED) && $(CARGO) test --workspace; fi

# Every part can be made alone; `make bench-summary` then sums up what is there. Compares nothing with earlier runs;
# keep a summary to compare with.
BENCH := $(CURDIR)/target/bench
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
bench: ## How fast everything is; writes target/bench/summary.json
	@rm -rf $(BENCH)/criterion $(BENCH)/programs
	@$(MAKE) --no-print-directory bench-criterion bench-admission bench-packet-in bench-flood bench-install bench-vouchers \
		bench-purchases bench-finality bench-api
	@$(MAKE) --no-print-directory bench-summary

# Short, so that it is run often: a second per bench.
bench-criterion: ## How fast the parts are
	@mkdir -p $(BENCH)
	CRITERION_HOME=$(BENCH)/criterion $(CARGO) bench -p payflow-benches --benches -- --warm-up-time 0.3 --measurement-time 1 --noplot --quiet

bench-programs:
	$(CARGO) build --release -p payflow-controller -p payflow-benches --bins

bench-admission: bench-programs ## How many asks one core decides, and what a million reservations take of memory
	$(TARGET)/release/bench-admission $(BENCH)/programs/admission.json

# Compared with ovs-testcontroller and os-ken where they are: `scripts/comparison.sh` installs both.
bench-packet-in: bench-programs ## How fast the controller answers, beside others
	@scripts/comparison.sh $(BENCH)/os-ken
	PAYFLOW_BENCH_OS_KEN=$(BENCH)/os-ken $(TARGET)/release/bench-packet-in $(BENCH)/programs/packet-in.json

bench-flood: setup bench-programs ## How soon what is bought is there while a port floods the controller
	$(TARGET)/release/bench-flood $(BENCH)/programs/flood.json

bench-install: setup bench-programs ## How fast everything sold is back on switches that were restarted
	$(TARGET)/release/bench-install $(BENCH)/programs/install.json

bench-vouchers: bench-programs ## How many vouchers of prepaid accounts a second, against how many signatures can be checked
	$(TARGET)/release/bench-vouchers $(BENCH)/programs/vouchers.json

bench-purchases: setup bench-programs ## How many purchases a second from prepaid accounts, on switches and durable
	$(TARGET)/release/bench-purchases $(BENCH)/programs/purchases.json

bench-finality: setup bench-programs ## What the controller adds to the ledger's own finality
	$(TARGET)/release/bench-finality $(BENCH)/programs/finality.json

bench-api: setup bench-programs ## How long a quote takes while ten thousand streams of events are open
	$(TARGET)/release/bench-api $(BENCH)/programs/api.json

bench-summary: ## What was measured, in one file
	@$(CARGO) run -q -p payflow-benches --bin bench-summary -- $(BENCH)/criterion $(BENCH)/programs $(BENCH)/summary.json

fuzz: ## Every decoder of the OpenFlow codec, a minute each; FUZZ_SECONDS asks for more or less
	@CARGO="$(CARGO)" scripts/fuzz.sh

lint: ## Formatting, and clippy with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p payflow-emulation --features planted-faults --all-targets -- -D warnings
