# PayFlow: the few commands people use. `make help` lists them.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench fuzz lint

help: ## Lists these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs what is missing (Open vSwitch, Mininet, ...) on Debian or Ubuntu
	@scripts/setup.sh

demo: setup ## The main job on an emulated network; writes target/demo/report.json and plots
	$(CARGO) build --workspace --bins
	target/debug/payflow-lab demo

# The simulation must find faults that are planted in the core on purpose.
PLANTED := -p payflow-emulation --features planted-faults --test planted

# End-to-end tests start the built programs, so those come first. Labs run as root: through sudo when the user is not.
test: setup ## Every test, those on Mininet and Open vSwitch included
	$(CARGO) build --workspace --bins
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then echo "$(CARGO) test --doc, $(CARGO) nextest run"; \
	    $(CARGO) test --workspace --doc --quiet && $(CARGO) nextest run $(PLANTED) && $(CARGO) nextest run --workspace; \
	else echo "$(CARGO) test --workspace"; $(CARGO) test $(PLANTED) && $(CARGO) test --workspace; fi

# Short, so that it is run often: a second per bench. Compares nothing; keep a summary to compare with.
BENCH := $(CURDIR)/target/bench
bench: ## How fast the parts are, in minutes; writes target/bench/summary.json
	@rm -rf $(BENCH)/criterion && mkdir -p $(BENCH)
	CRITERION_HOME=$(BENCH)/criterion $(CARGO) bench -p payflow-benches -- --warm-up-time 0.3 --measurement-time 1 --noplot --quiet
	@$(CARGO) run -q -p payflow-benches --bin bench-summary -- $(BENCH)/criterion $(BENCH)/summary.json

fuzz: ## Every decoder of the OpenFlow codec, a minute each; FUZZ_SECONDS asks for more or less
	@CARGO="$(CARGO)" scripts/fuzz.sh

lint: ## Formatting, and clippy with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p payflow-emulation --features planted-faults --all-targets -- -D warnings
