# Thin: each target calls the `weir` command. `cargo run -p weir -- --help` shows all that it can do.

# Built first, so that cargo shows what it does; run alone, so that a ^C meets nobody but the command and make.
BUILD = cargo build --package weir
WEIR = cargo run --quiet --package weir --

.PHONY: run test run-bench image clean

# Boots the demo: a balancer in front of two built-in servers. CONFIG=FILE boots another; ARGS adds options.
run:
	@./setup run
	@$(BUILD)
	@$(WEIR) run $(CONFIG) $(ARGS)

# Everything that can be tested. FILTER=NAME runs some; ARGS=--long makes the loads longer.
test:
	@./setup test
	@$(BUILD)
	@$(WEIR) test $(FILTER) $(ARGS)

# Measures Weir and Linux in turn; the report goes to target/bench/report. QUICK=1 measures the essentials; ARGS adds options.
run-bench:
	@./setup bench
	@cargo build --release --package weir
	@cargo run --quiet --release --package weir -- bench $(if $(QUICK),--quick) $(ARGS)

# Makes weir.elf from CONFIG=FILE.
image:
	@./setup run
	@$(BUILD)
	@$(WEIR) build $(or $(CONFIG),apps/config/demo.toml) --output weir.elf $(ARGS)

clean:
	cargo clean
	rm -f weir.elf
