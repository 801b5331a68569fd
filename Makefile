# Thin: each target calls the `weir` command. `cargo run -p weir -- --help` shows all that it can do.

# Built first, so that cargo shows what it does the first time.
WEIR = cargo build --package weir && cargo run --quiet --package weir --

.PHONY: run test image clean

# Boots the demo: a balancer in front of two built-in servers. CONFIG=FILE boots another; ARGS adds options.
run:
	@./setup run
	@$(WEIR) run $(CONFIG) $(ARGS)

# Everything that can be tested. FILTER=NAME runs some; ARGS=--long makes the loads longer.
test:
	@./setup test
	@$(WEIR) test $(FILTER) $(ARGS)

# Makes weir.elf from CONFIG=FILE.
image:
	@./setup run
	@$(WEIR) build $(or $(CONFIG),apps/config/demo.toml) --output weir.elf $(ARGS)

clean:
	cargo clean
	rm -f weir.elf
