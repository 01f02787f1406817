# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
.PHONY: help demo demo-python test bench chaos wheel fmt clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## behaviour recognition on the clip that comes with the project: INPUT=... ARGS="--multiprocess ..." for your own
	@scripts/demo.sh rust $(INPUT) $(ARGS)

demo-python: ## the same from Python, with one stage in plain Python
	@scripts/demo.sh python $(INPUT) $(ARGS)

test: ## everything that CI runs
	@scripts/test.sh

bench: ## the numbers of docs/benchmarks.md, measured on this machine
	@scripts/bench.sh

chaos: ## kill worker processes at random for a while: KILLS=1000
	CHAOS_KILLS=$(or $(KILLS),1000) cargo test --release -p deeppipeline --all-features --test processes -- chaos::workers haste:: --nocapture

wheel: ## the Python wheel, in target/wheels
	@scripts/wheel.sh

fmt: ## format all code
	cargo fmt --all
	@scripts/prepare.sh test
	.venv/bin/ruff format python examples/python benchmarks

clean: ## forget everything that was built
	rm -rf target out .venv .venv-*
