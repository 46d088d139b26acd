# Tasvir: a DICOM archive and teleradiology system. "make" lists the targets.
#
# Needed: Debian 12, Go >= 1.26, Node >= 20.19. "run" and "test" install what
# else is missing; the scripts they use are in deploy/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The targets use the same folders and print as they go.
.NOTPARALLEL:

# A checkout without its history, or one that belongs to another user, must
# build too, so Go doesn't ask git; the version is asked here instead.
# What the codecs in C need is optional: gcc, pkg-config, libcharls-dev (JPEG-LS)
# and libopenjp2-7-dev (JPEG 2000).
export GOFLAGS ?= -buildvcs=false $(shell deploy/codec-tags.sh)
VERSION := $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)

# What the web client is built from.
CLIENT := $(shell find viewer \( -name node_modules -o -path viewer/dist -o -path viewer/browser \) -prune -o -type f ! -name '*.go' -print)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-8s %s\n", $$1, $$2 }'

.PHONY: run
run: ## install what is missing, build, and start the demo; Ctrl-C ends it
	@deploy/check-tools.sh
	@deploy/install-debian.sh run
	@$(MAKE) --no-print-directory build deploy/fhir-sandbox/node_modules
	@exec deploy/run.sh

.PHONY: test
test: ## install what is missing, build, and run every test and linter
	@deploy/test.sh

.PHONY: build
build: tools viewer/dist/index.html ## build the web client and bin/tasvir
	@go build -ldflags '-X main.version=$(VERSION)' -o bin/tasvir ./cmd/tasvir

.PHONY: ohif
ohif: tools ## fetch OHIF, the optional second viewer, and print its folder for --ohif-dist
	@deploy/ohif.sh

.PHONY: lint
lint: tools ## run the linters: Go, the web client, the shell scripts
	@deploy/test.sh lint viewer-types viewer-lint

.PHONY: fuzz
fuzz: tools ## run each fuzz target for FUZZTIME (20s)
	@deploy/fuzz.sh

.PHONY: bench
bench: ## measure Tasvir beside storescp and Orthanc; about 35 minutes, BENCH_QUICK=1 takes 5
	@deploy/check-tools.sh
	@deploy/install-debian.sh run
	@$(MAKE) --no-print-directory build
	@deploy/bench.sh

.PHONY: clean
clean: ## remove what was built; the cache in ~/.cache/tasvir and demo data stay
	@rm -rf bin screenshots
	@find viewer/dist -mindepth 1 ! -name .gitkeep -delete

.PHONY: tools
tools:
	@deploy/check-tools.sh

viewer/dist/index.html: $(CLIENT) | viewer/node_modules
	@source deploy/steps.sh && step 'Building the web client' npm --prefix viewer run build

.PHONY: viewer/node_modules deploy/fhir-sandbox/node_modules
viewer/node_modules deploy/fhir-sandbox/node_modules: tools
	@deploy/npm-ci.sh $(@D)
