# The commands of this repository. Each is an npm script too; make adds the installation before it.
# Settings go on the command line: make run PORT=3100 STORE=memory:    make race URL=http://127.0.0.1:8080/pay

.DEFAULT_GOAL := help
.PHONY: help install build run test race verify up down clean ci

NODE := node_modules/.bin/node
STAMP := node_modules/.package-lock.json
BUILT := dist/.built
SOURCES := $(shell find src -type f 2>/dev/null) package.json tsconfig.json tsconfig.build.json
URL ?= http://127.0.0.1:3000/process-payment
TESTFLAGS ?=
SERVICE ?= redis

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

install: $(STAMP) ## install the dependencies, Node 24 among them

$(STAMP): package-lock.json
	@command -v npm > /dev/null || { echo "npm was not found: install Node.js 20 or later." >&2; exit 1; }
	npm ci --loglevel=error
	@touch $@

build: $(BUILT) ## compile src/ to dist/

$(BUILT): $(STAMP) $(SOURCES)
	npm run --silent build
	@touch $@

run: $(BUILT) ## start the demo API (PORT HOST STORE DELAY LEASE RETENTION)
	@exec $(NODE) dist/cli/latchkey.js demo

race: $(BUILT) ## fire the race test at the running API (URL=...)
	@exec $(NODE) dist/cli/latchkey.js race "$(URL)"

verify: URL = http://127.0.0.1:3000/verify
verify: $(BUILT) ## try the rules of idempotency on the running API (URL=...)
	@exec $(NODE) dist/cli/latchkey.js verify "$(URL)"

test: $(STAMP) ## run the quick tests, on real Redis and Postgres (TESTFLAGS)
	npm test --silent -- $(TESTFLAGS)

up: ## start Redis 7 in Docker (SERVICE=postgres: Postgres 18)
	@scripts/containers.sh up $(SERVICE)

down: ## stop them again and delete their data
	@scripts/containers.sh down

ci: ## everything the build server checks
	.ci/run

clean: ## remove what was built and the demo's data
	rm -rf dist coverage data node_modules/.cache
