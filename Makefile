# Every target is a plain command to run by hand; `make check` is what CI runs. See docs/development.md.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The steps of `check`, in order: the quick ones first. Each is a target of its own.
STEPS      := fmt-check vet grayvet gen-check lint test e2e
STEPS_FULL := $(filter-out e2e,$(STEPS)) check-full-chain check-full-sql92 check-full-messages \
              check-full-messages-kinds check-full-messages-faults check-full-lanes check-full-handoff

# The unit tests are everything but the end-to-end suite; generated code has no tests.
UNIT := go list ./... | grep -Ev '/(e2e|kitex_gen)(/|$$)'

# Tests share one Nacos and one RocketMQ, which this starts unless they run already (package internal/testenv).
WITH_SERVERS := go run ./internal/testenv/withservers

# Narrow a run: make test PKG=./pkg/graylib/... RUN=TestTag
PKG ?=
RUN ?=
runflag = $(if $(RUN),-run '$(RUN)')

# make microbench BENCH=Inject COUNT=10
BENCH ?= .
COUNT ?= 1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check
check: ## all that CI runs; stops at the first failure
	@$(WITH_SERVERS) scripts/check.sh check $(STEPS)

.PHONY: check-full
check-full: ## check, with the end-to-end figures in full
	@$(WITH_SERVERS) scripts/check.sh check-full $(STEPS_FULL)

.PHONY: check-full-chain
check-full-chain: ## the part of check-full about the chain: the e2e suite in full
	@GRAYCHAIN_E2E_FULL=1 $(WITH_SERVERS) scripts/gotest.sh -count=1 -p 1 -timeout 60m $(runflag) $(or $(PKG),./e2e/...)

.PHONY: check-full-matrix
check-full-matrix: ## a part of that: every lane's shape, kind of request and protocol
	@GRAYCHAIN_E2E_FULL=1 $(WITH_SERVERS) scripts/gotest.sh -count=1 -timeout 15m -run '^TestMatrix$$' ./e2e

.PHONY: check-full-routing
check-full-routing: ## of check-full only rules, faults of Nacos, restarts and lanes that come and go
	@GRAYCHAIN_E2E_FULL=1 $(WITH_SERVERS) scripts/gotest.sh -count=1 -p 1 -timeout 30m -run '^Test(Rule|Nacos|Rolling|LanesCome)' ./e2e/...

.PHONY: test
test: ## unit tests, with the race detector [PKG=./pkg/... RUN=regexp]
	@pkgs=$${PKG:-$$($(UNIT))}; $(WITH_SERVERS) scripts/gotest.sh -race -timeout 15m $(runflag) $$pkgs

# FULL_MESSAGES runs the tests of pkg/graylib/grayrocketmq that it is given, with their figures.
FULL_MESSAGES = GRAYCHAIN_E2E_FULL=1 $(WITH_SERVERS) scripts/gotest.sh -count=1 -v -timeout 30m ./pkg/graylib/grayrocketmq -run

.PHONY: check-full-messages
check-full-messages: ## of check-full only handoffs, crashes and modes of messages, with their figures
	@$(FULL_MESSAGES) '^Test(Handoff|StandIns|Crash|Modes|Members|ListedThen|Retries|Rollback|Stock|Offsets)'

.PHONY: check-full-messages-kinds
check-full-messages-kinds: ## of check-full only kinds of sending and consuming, and strays
	@$(FULL_MESSAGES) '^Test(Matrix|SendKinds|Transaction|Batch|Order|Broadcast|Topics|UnknownVersion|Lane|SQL|Stray|ListedWhile|Forget)'

.PHONY: check-full-messages-faults
check-full-messages-faults: ## of check-full only faults and settings of brokers and connections, for messages
	@$(FULL_MESSAGES) '^Test(ConnectionLost|Broker|TwoBrokers|AccessControl|Partitioned|LargestBody|NoNacos)'

.PHONY: check-full-lanes
check-full-lanes: ## of check-full only doctor and lanes on brokers of their own, two at once too
	@GRAYCHAIN_E2E_FULL=1 $(WITH_SERVERS) scripts/gotest.sh -count=1 -p 1 -v -timeout 15m ./internal/cli/doctorcmd ./internal/cli/lanescmd

.PHONY: check-full-sql92
check-full-sql92: ## of check-full only SQL92 expressions, generated and compared with the broker's answers
	@GRAYCHAIN_E2E_FULL=1 $(WITH_SERVERS) scripts/gotest.sh -count=1 -v -timeout 15m -run OnTheBroker ./pkg/graylib/grayrocketmq/sql92

.PHONY: model
model: ## ownership's decisions searched to millions of states, an hour and more: no part of check-full [RUN=regexp]
	@GRAYCHAIN_MODEL=full scripts/gotest.sh -count=1 -timeout 3h $(runflag) ./pkg/graylib/grayrocketmq/ownership

.PHONY: check-full-handoff
check-full-handoff: ## of check-full only 50 rounds of handoffs between processes, timed
	@GRAYCHAIN_E2E_FULL=1 $(WITH_SERVERS) scripts/gotest.sh -count=1 -v -timeout 15m -run '^TestHandoffs$$' ./internal/handoffbench

.PHONY: mutants
mutants: ## safeguards of messages taken out one at a time: the tests that are there for them must fail
	@$(WITH_SERVERS) scripts/mutants.sh

.PHONY: e2e
e2e: ## end-to-end tests on real servers, needs JDK 17 and Maven [RUN=regexp]
	@$(WITH_SERVERS) scripts/gotest.sh -count=1 -p 1 -timeout 15m $(runflag) $(or $(PKG),./e2e/...)

.PHONY: bench
bench: ## what graylib costs, measured in pairs and written into docs/performance.md
	@go run ./bench

.PHONY: microbench
microbench: ## the packages' own benchmarks [PKG=./pkg/... BENCH=regexp COUNT=n]
	@pkgs=$${PKG:-$$($(UNIT))}; go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $$pkgs

.PHONY: vet
vet: ## go vet
	@go vet ./...

.PHONY: grayvet
grayvet: ## graycheck: calls and goroutines that lose the request's context [PKG=./services/...]
	@tool=$$(mktemp -d); trap 'rm -rf "$$tool"' EXIT; \
	go build -o "$$tool/grayvet" ./cmd/grayvet && go vet -vettool="$$tool/grayvet" $(or $(PKG),./...)

.PHONY: lint
lint: ## golangci-lint: the habits, and the layers between packages
	@scripts/tool.sh golangci-lint run ./...

.PHONY: fmt
fmt: ## format the Go files
	@find . -name '*.go' -not -path './kitex_gen/*' -exec gofmt -s -w {} +

.PHONY: fmt-check
fmt-check: ## name the Go files that are not formatted
	@bad=$$(find . -name '*.go' -not -path './kitex_gen/*' -exec gofmt -s -l {} +); \
	if [ -n "$$bad" ]; then printf 'not formatted (make fmt mends it):\n%s\n' "$$bad" >&2; exit 1; fi

.PHONY: gen
gen: ## generate kitex_gen from idl
	@scripts/gen.sh write

.PHONY: gen-check
gen-check: ## compare kitex_gen with what idl generates; changes nothing
	@scripts/gen.sh check
