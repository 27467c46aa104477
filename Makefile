# symkeep. `make help` lists the targets. Each installs what it lacks.

SHELL   := /bin/bash
BIN     := bin/symkeep
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
BUILD   := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
FUZZTIME ?= 30s
SEED     ?= 1
DURATION ?= 60m
CORPUS   ?= corpus
N        ?= 20000
ROUNDS   ?= 5
PARTS    ?=
FAMILY   ?=

.PHONY: help build cross test race fuzz lint corpus mutate sweep bench microbench peers e2e torture demo clean

NEEDS := race cab archives debuggers clients smb mail curl node net lb truth

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: ## build bin/symkeep, static
	$(BUILD) -o $(BIN) ./cmd/symkeep

cross: ## build for windows, darwin and linux/arm64 as well
	@for t in linux/amd64 linux/arm64 windows/amd64 darwin/arm64; do \
	  ext=; [ $${t%/*} = windows ] && ext=.exe; \
	  echo "dist/symkeep-$${t%/*}-$${t#*/}$$ext"; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} $(BUILD) -o dist/symkeep-$${t%/*}-$${t#*/}$$ext ./cmd/symkeep || exit 1; \
	done

test: build ## all tests, race detector on, real debuggers and servers
	@scripts/need.sh $(NEEDS)
	CGO_ENABLED=1 SYMKEEP_BIN=$(CURDIR)/$(BIN) go test -race -timeout 25m ./...

race: test ## the same: every test run has the race detector on

fuzz: ## run every fuzz target for FUZZTIME each: make fuzz FUZZTIME=5m TARGETS="pe pdb"; stops at a crasher
	@scripts/fuzz.sh $(FUZZTIME) $(TARGETS)

lint: ## formatting, vet, static checks
	@test -z "$$(gofmt -l $$(git ls-files "*.go"))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files "*.go"); exit 1; }
	go vet ./...

corpus: build ## check a folder of symbol files, and serve it: make corpus CORPUS=DIR; prints expected against found
	@scripts/need.sh cab curl debuggers node truth
	SYMKEEP_CORPUS=$(CORPUS) go test -tags corpus -count 1 -v -run Corpus ./internal/validate
	SYMKEEP_CORPUS=$(CORPUS) go test -tags corpus -count 1 -run Corpus ./internal/cab
	SYMKEEP_CORPUS=$(CORPUS) SYMKEEP_BIN=$(CURDIR)/$(BIN) go test -tags corpus -count 1 -v -timeout 20m -run 'Test(Truth|Served)Corpus' ./e2e

mutate: ## damage files of the corpus at random, held against other tools: make mutate CORPUS=DIR N=20000 SEED=1 FAMILY=wasm
	@scripts/need.sh debuggers node truth
	SYMKEEP_CORPUS=$(CORPUS) SYMKEEP_MUTANTS=$(N) SYMKEEP_SEED=$(SEED) SYMKEEP_FAMILY=$(FAMILY) nice -n 10 \
	  go test -tags corpus -count 1 -timeout 12h -v -run 'TestMutate$$' ./internal/validate

sweep: build ## check all programs of this machine and of npm packages: no panic, no false error
	@scripts/need.sh debuggers node truth sweep
	SYMKEEP_BIN=$(CURDIR)/$(BIN) nice -n 10 go test -tags sweep -count 1 -timeout 1h -v -run TestSweep ./e2e

bench: build ## symkeep beside nginx and debuginfod in one run: tmp/bench.txt; make bench PARTS=serve,range
	@scripts/need.sh bench
	go build -o $(CURDIR)/tmp/bench-run ./e2e/bench
	$(CURDIR)/tmp/bench-run -bin $(CURDIR)/$(BIN) -parts '$(PARTS)'

microbench: ## the benchmarks of single packages
	go test -run '^$$' -bench . -benchtime 1s ./internal/cab ./internal/symid ./raftfsm ./replication

peers: build ## measure symkeep beside other tools on the same files, checks and identification: make peers CORPUS=DIR ROUNDS=5
	@scripts/need.sh debuggers node truth
	SYMKEEP_CORPUS=$(CORPUS) SYMKEEP_ROUNDS=$(ROUNDS) SYMKEEP_BIN=$(CURDIR)/$(BIN) \
	  go test -tags corpus -count 1 -timeout 1h -v -run TestPeers ./e2e

e2e: build ## the end-to-end tests alone
	@scripts/need.sh $(NEEDS)
	CGO_ENABLED=1 SYMKEEP_BIN=$(CURDIR)/$(BIN) go test -race -count 1 -timeout 25m -v ./e2e/

torture: build ## faults of every kind under load, as root: make torture SEED=1 DURATION=60m
	@scripts/need.sh mail net
	go build -o $(CURDIR)/tmp/torture ./e2e/torture
	$(CURDIR)/tmp/torture -seed $(SEED) -duration $(DURATION)

demo: build ## three nodes, one push, every debugger
	@scripts/need.sh debuggers cab curl node
	@scripts/demo.sh

clean: ## remove what the other targets made
	rm -rf bin dist tmp
