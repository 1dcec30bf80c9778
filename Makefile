# A newcomer needs demo, test, check, lab and bench. Each target first installs what it needs into .venv.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIENTS := .venv-clients
CLIENTS_LOCK := tests/clients_az/requirements.lock
DOCS_STAMP := $(VENV)/.installed-docs
DOCS_LOCK := docs/requirements.lock
SITE := docs/_build
LINKS ?=

GO_TESTS := tests/clients/test_helm.py tests/clients/test_helm_registry.py tests/clients/test_builders.py tests/kustomize

.PHONY: help demo test test-clients go-clients test-conformance check docs lab bench lock outputs clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

$(STAMP): requirements.lock fleetlib/pyproject.toml azuresandbox/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@echo "installing into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable fleetlib --editable azuresandbox
	@$(BIN)/python -m compileall -q fleetlib azuresandbox  # imports are most of a short run
	@touch $(STAMP)

demo: $(STAMP) ## Run every stage on the sandbox, print the fleet, write a report
	@$(BIN)/fleet run --file parameters/sandbox.yaml

test: $(STAMP) ## Run all tests, the notebooks among them
	$(BIN)/python -m pytest -n 2 --dist loadscope --ignore tests/conformance --ignore tests/clients_az

test-conformance: $(STAMP) ## Compare the sandbox's Kubernetes API with a real kube-apiserver, built from source (needs Go)
	@if [ -n "$$KUBEBUILDER_ASSETS" ]; then true; elif command -v go >/dev/null; then $(MAKE) -C tools/conformance servers; \
	else echo "test-conformance is skipped: Go is not there (https://go.dev/doc/install), nor is KUBEBUILDER_ASSETS set"; fi
	$(BIN)/python -m pytest tests/conformance

$(CLIENTS)/.installed: $(STAMP) $(CLIENTS_LOCK)
	@echo "installing the Azure CLI into $(CLIENTS) ..."
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(CLIENTS)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(CLIENTS)/bin/python --requirement $(CLIENTS_LOCK)
	@touch $@

go-clients: # builds helm and kustomize from the Go module proxy; without them their tests are skipped
	@if command -v go >/dev/null; then nice $(MAKE) --no-print-directory -C tools/kustomize && nice $(MAKE) --no-print-directory -C tools/helm; \
	else echo "no Go toolchain: the tests of helm and kustomize are skipped"; fi

test-clients: $(CLIENTS)/.installed go-clients ## Run the real Azure CLI, helm and kustomize (built if there is Go) against the sandbox
	$(BIN)/python -m pytest -n 2 --dist loadscope tests/clients_az $(GO_TESTS)

check: $(STAMP) ## Lint, types, import directions, unused code, form of the notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy fleetlib azuresandbox tests tools benchmarks
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/python tools/check_notebooks.py

$(DOCS_STAMP): $(STAMP) $(DOCS_LOCK)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement $(DOCS_LOCK)
	@touch $@

docs: $(DOCS_STAMP) ## Build the documentation site in docs/_build/html; LINKS=1 also asks every external link
	$(BIN)/python -m sphinx -q -W --keep-going -n -j auto -c docs -d $(SITE)/doctrees . $(SITE)/html
	$(if $(LINKS),$(BIN)/python -m sphinx -q -c docs -d $(SITE)/doctrees -b linkcheck . $(SITE)/linkcheck)
	@echo "open $(SITE)/html/index.html"

lab: $(STAMP) ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks

bench: $(STAMP) ## Measure, side by side with peers
	$(BIN)/python -m benchmarks

outputs: $(STAMP) ## Execute the notebooks on a fresh sandbox and store their outputs
	$(BIN)/python tools/store_outputs.py

lock: $(STAMP) ## Renew the three locks from the pyproject.toml files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group dev fleetlib/pyproject.toml azuresandbox/pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes tests/clients_az/requirements.in --output-file $(CLIENTS_LOCK)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --constraint requirements.lock --group docs --output-file $(DOCS_LOCK)

clean: ## Remove the virtual environment, the sandbox and all runs
	-test -x $(BIN)/fleet && $(BIN)/fleet sandbox down
	rm -rf $(VENV) $(CLIENTS) $(SITE) .fleet runs
