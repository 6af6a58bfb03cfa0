# The commands of the README. Everything else is `npx --no ml-api help`.
.POSIX:
.PHONY: up down test test-all test-fast soak bench scan clean-cache help

# The Node of the checkout first: the packages want a newer one than many machines have.
ML_API = PATH="$$PWD/node_modules/.bin:$$PATH" ./cli/ml-api.js
RUN_TESTS = PATH="$$PWD/node_modules/.bin:$$PATH" node --require ts-node/register/transpile-only test/run.ts
# A measurement: a program in bench/, and its options.
BENCH = preview
ARGS =

help:
	@echo "make up           a cluster on this machine, the sample API on it, and one prediction"
	@echo "make test         every check and test, as CI runs them"
	@echo "make test-all     the same, and the tests that take minutes each"
	@echo "make soak N=20    N rollouts of each kind and every drill three times; goes on where it was ended"
	@echo "make test-fast    type check, lint and unit tests"
	@echo "make scan         scanners over everything that the chart renders to"
	@echo "make bench        what a preview costs, beside other programs; BENCH=deploy, growth or serving measures more"
	@echo "make down         remove the cluster and its Pulumi state"
	@echo "make clean-cache  remove the tools that were built or downloaded"

up: node_modules/.package-lock.json
	@$(ML_API) up dev

down: node_modules/.package-lock.json
	@$(ML_API) cluster down

test: node_modules/.package-lock.json
	@$(RUN_TESTS)

test-all: node_modules/.package-lock.json
	@ML_API_TEST_ALL=1 $(RUN_TESTS)

soak: node_modules/.package-lock.json
	@ML_API_FUZZ_RUNS=10000 PATH="$$PWD/node_modules/.bin:$$PATH" mocha --config .mocharc.json 'test/fuzz/*.test.ts'
	@PATH="$$PWD/node_modules/.bin:$$PATH" node --require ts-node/register/transpile-only test/soak.ts $(N)

test-fast: node_modules/.package-lock.json
	@$(RUN_TESTS) types lint layout unit

bench: node_modules/.package-lock.json
	@PATH="$$PWD/node_modules/.bin:$$PATH" node --require ts-node/register/transpile-only bench/$(BENCH).ts $(ARGS)

scan: node_modules/.package-lock.json
	@$(RUN_TESTS) scan

clean-cache: node_modules/.package-lock.json
	@$(ML_API) tools --clean

# npm writes this file last, so an interrupted install is done again.
node_modules/.package-lock.json: package.json package-lock.json
	@echo "installing the npm packages of package-lock.json"
	@npm ci --no-audit --no-fund --loglevel=error
