# The checks and the demo of hardened.clickstack. Everything that make builds lies in .build; see CONTRIBUTING.md.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
TOOLS := tests/tools
ENVIRONMENTS := $(PYTHON) -B $(TOOLS)/environments.py
PART := $(PYTHON) -B $(TOOLS)/part.py
BIN := $(CURDIR)/.build/venv/dev/bin
PYTEST := $(BIN)/python -m pytest
COLLECTION := ansible_collections.hardened.clickstack

# "2.17:core-2.17 2.19:dev ...": the ansible-core versions that this machine's Pythons allow, and where each is installed.
CORES = $(eval CORES := $(shell $(ENVIRONMENTS) cores 2>/dev/null | tr ' ' ':'))$(CORES)
core_environment = $(patsubst $*:%,%,$(filter $*:%,$(CORES)))
# The oldest and the newest: each costs minutes, and what is between says nothing that neither of them says. The other suites
# run on the one between.
EXTREMES = $(sort $(foreach core,$(firstword $(CORES)) $(lastword $(CORES)),$(firstword $(subst :, ,$(core)))))
UNIT = $(addprefix unit-,$(EXTREMES))
SANITY = $(addprefix sanity-,$(EXTREMES))
ENGINES := chdb-26.9 chdb-25.8 chdb-25.5 chdb-24.8
# One part for each version, so that two of them run side by side; a real server is one.
INTEGRATION = $(addprefix integration-,$(if $(CLICKHOUSE_URL),real,$(SANDBOX_VERSIONS)))

# Ansible finds collections here and nowhere else: what runs is the installed artifact, not the checkout, and beside it the
# collections that it depends on.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.build/installed:$(CURDIR)/.build/companions
export ANSIBLE_HOME := $(CURDIR)/.build/ansible
export ANSIBLE_LOCALHOST_WARNING := false
export ANSIBLE_INVENTORY_UNPARSED_WARNING := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE := 1
# With THOROUGH=1 the tests show the same on more engines and versions, and at more places; see CONTRIBUTING.md.
export THOROUGH ?=
# The ClickHouse versions that the sandbox answers as in the tests.
export SANDBOX_VERSIONS ?= 26.9 25.8 24.8

.PHONY: help setup setup-demo setup-cores setup-engines demo test parts clean \
	sanity lint importer changelog ruff mypy shellcheck unit sandbox-tests integration roles lab molecule artifact bench \
	release-notes docs docs-check setup-lab setup-collector

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: ## create the virtual environments, the engines, the lab's hosts and the collector that the checks need
	@$(MAKE) --no-print-directory -j2 setup-cores setup-engines
	@$(MAKE) --no-print-directory -j2 setup-lab setup-collector

setup-cores:
	@$(ENVIRONMENTS) setup dev $$($(ENVIRONMENTS) cores | cut -d' ' -f2 | grep -v '^dev$$')
	@$(BIN)/python $(TOOLS)/companions.py

setup-engines:
	@$(ENVIRONMENTS) setup $(ENGINES)

setup-demo:
	@$(ENVIRONMENTS) setup dev chdb-26.9
	@$(BIN)/python $(TOOLS)/companions.py
	@$(BIN)/python $(TOOLS)/artifact.py >.build/artifact.log 2>&1 || { cat .build/artifact.log; exit 1; }

demo: setup-demo ## run the main job on a sandbox ClickHouse, then show what each user may do
	@PATH="$(BIN):$$PATH" ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false tests/demo/run

test: setup ## run every check and every test
	@rm -rf .build/log
	-@$(MAKE) --no-print-directory artifact
	@$(MAKE) --no-print-directory -j3 -k -Otarget ARTIFACT= LAB= COLLECTOR= parts; $(PART) summary $$?

# What a part that works on the artifact or in the lab waits for; make test has built both before.
ARTIFACT := artifact
LAB := setup-lab
COLLECTOR := setup-collector

# Long parts first, so that the lanes end together. Three of them on two cores: the lab's tests and Molecule's often wait.
parts: lab $(INTEGRATION) sandbox-tests molecule roles $(SANITY) $(UNIT) importer lint mypy ruff shellcheck changelog docs-check

sanity: $(SANITY) ## ansible-test sanity on the oldest and the newest ansible-core
sanity-%:
	@$(PART) run $@ $(TOOLS)/sanity.sh $(core_environment)

unit: $(UNIT) ## unit tests on the oldest and the newest ansible-core
unit-%:
	@$(PART) run $@ .build/venv/$(core_environment)/bin/python -m pytest tests/unit

sandbox-tests: ## tests of the sandbox ClickHouse itself
	@$(PART) run $@ $(PYTEST) tests/sandbox_tests

artifact: ## build the artifact, check what is in it, install it into .build/installed
	@$(PART) run $@ $(BIN)/python $(TOOLS)/artifact.py

integration: $(INTEGRATION) ## real playbooks with the installed collection, on the sandbox or on CLICKHOUSE_URL
integration-%: $(ARTIFACT)
	@PATH="$(BIN):$$PATH" ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false SANDBOX_VERSIONS=$(*:real=26.9) \
		$(PART) run $@ $(PYTEST) tests/integration

roles: $(ARTIFACT) $(COLLECTOR) ## roles on this machine, held against the servers that read what they write
	@PATH="$(BIN):$$PATH" ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false $(PART) run $@ $(PYTEST) tests/roles

# The lab's hosts are made of Debian packages and of Go modules, once in a checkout.
setup-lab:
	@$(BIN)/python -m tests.sandbox.lab setup

# ClickStack's collector and its supervisor, of Go modules, once in a checkout.
setup-collector:
	@$(BIN)/python -m tests.sandbox.otel.programs

lab: $(ARTIFACT) $(LAB) ## real Docker hosts in network namespaces: what is open, and to whom (needs root)
	@PATH="$(BIN):$$PATH" ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false $(PART) run $@ $(PYTEST) tests/lab

molecule: $(ARTIFACT) $(LAB) ## each role alone, by Molecule, on hosts of the lab (needs root)
	@PATH="$(BIN):$$PATH" ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false $(PART) run $@ $(PYTEST) tests/molecule

importer: $(ARTIFACT) ## galaxy-importer on the artifact, warnings count
	@$(PART) run $@ $(TOOLS)/importer.sh

lint: $(ARTIFACT) ## ansible-lint, profile production
	@PATH="$(BIN):$$PATH" $(PART) run $@ $(BIN)/ansible-lint --offline --strict --profile production --nocolor

changelog: ## antsibull-changelog lint, and CHANGELOG.rst says what the fragments say
	@$(PART) run $@ $(TOOLS)/changelog.sh

docs: ## write the pages of docs/ that are made of the sources
	@$(BIN)/python $(TOOLS)/docs.py write

docs-check: ## docs/ says what the sources say
	@$(PART) run $@ $(BIN)/python $(TOOLS)/docs.py

release-notes: ## bring CHANGELOG.rst up to date with the fragments and the new modules
	@$(TOOLS)/changelog.sh write

ruff: ## ruff check and ruff format
	@$(PART) run $@ sh -c '$(BIN)/ruff check . && $(BIN)/ruff format --check .'

mypy: ## mypy --strict on the module utils, the sandbox and the tools
	@$(PART) run $@ sh -c '$(BIN)/mypy -p $(COLLECTION).plugins.module_utils -p tests.sandbox && $(BIN)/mypy $(TOOLS)'

shellcheck: ## shellcheck on the shell scripts
	@$(PART) run $@ $(BIN)/shellcheck .ci/run $(TOOLS)/*.sh tests/sandbox/lab/*.sh roles/*/files/stack-firewall

bench: setup-demo ## measure clickhouse_access against the least that it could cost
	@PATH="$(BIN):$$PATH" ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false tests/bench/run

clean: ## remove everything that make built
	rm -rf .build tests/output
