# Everything runs from .venv, which `make setup` makes: nothing else needs to be installed.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop test lint format sanity unit integration playbook molecule backend-test faults faults-sample coverage bench build clean

PYTHON_BIN := $(CURDIR)/.venv/bin
export PATH := $(PYTHON_BIN):$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/collections
# Branch coverage of the rules and of the databases' code, as pyproject.toml has it; `make coverage` prints it.
data := .cache/coverage/
measured = python -m coverage erase --data-file=$(data)$(1) && python -m coverage run --data-file=$(data)$(1) -m pytest
SCENARIOS := $(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install everything into .venv and examples/backend/node_modules (no time when nothing changed)
	@sh examples/demo/bootstrap.sh

demo: setup ## Rehearse and roll back a migration on servers of its own, from nothing
	@python examples/demo/demo.py run

demo-stop: setup ## Stop the demo's servers
	@python examples/demo/demo.py stop

test: setup ## Everything below but the bench; says at the end what failed, and what was not covered
	@python tests/tools/run_checks.py integration playbook faults-sample molecule sanity lint backend-test unit; checks=$$?; \
	$(MAKE) --no-print-directory coverage; exit $$checks

lint: setup ## ruff, mypy, yamllint, ansible-lint
	@sh tests/tools/run_lint.sh

format: setup ## Format the Python code
	@ruff format . && ruff check --fix .

sanity: setup ## ansible-test sanity
	@python tests/tools/run_sanity.py

unit: setup ## Tests that need no server
	@$(call measured,unit) tests/unit $(PYTEST_ARGS)

integration: setup ## Tests against PostgreSQL 16 and 18
	@$(call measured,integration) tests/integration -n 2 $(PYTEST_ARGS)

coverage: ## Which branches of the rules and of the databases' code the last unit and integration did not take
	@python -m coverage combine -q --keep $(wildcard $(data)unit.* $(data)integration.*) && python -m coverage report

playbook: setup ## The playbook with bad input, with its controller killed, and searched for secrets
	@python -m pytest tests/playbook $(PYTEST_ARGS)

faults: setup ## One fault after the other in real rollbacks; WITHOUT=keeper takes a protection out, ONLY="a b*" chooses
	@set -f; python tests/faults/faults.py $(if $(WITHOUT),--without $(WITHOUT)) $(if $(ONLY),--only $(ONLY))

faults-sample: setup ## The ten faults that cost least and prove most
	@python -m pytest tests/faults $(PYTEST_ARGS)

molecule: setup ## The playbooks, one scenario a story
	@test -n "$(SCENARIOS)" || { echo "molecule: there is no scenario in molecule/" >&2; exit 1; }
	@for scenario in $(SCENARIOS); do \
	MOLECULE_EPHEMERAL_DIRECTORY="$(CURDIR)/.cache/molecule/$$scenario" molecule test -s "$$scenario" || failed="$$failed $$scenario"; done; \
	if [ -n "$$failed" ]; then echo "molecule: failed:$$failed" >&2; exit 1; fi

backend-test: setup ## The example backend's own tests
	@cd examples/backend && npm run --silent typecheck && npm test --silent

bench: setup ## Measure every speed beside its peers
	@python tests/bench/bench.py

build: setup ## Build the collection's tarball into .cache/build
	@ansible-galaxy collection build --force --output-path .cache/build

clean: ## Stop the demo and remove everything that was made here
	@if [ -x .venv/bin/python ] && [ -e examples/demo/demo.py ]; then python examples/demo/demo.py stop || true; fi
	@if [ -x .venv/bin/python ]; then cd examples/demo && python -c 'import embedded_postgresql as e; e.remove_runtime_folder()'; fi
	@rm -rf .venv .cache .demo .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis examples/backend/node_modules
