# make run   talk to the avatar        make test  everything the tests need, then all tests
# make room  the same through LiveKit  make check  formatting, types, architecture
# make bench measure this machine      make setup  the part they share (idempotent)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .cache/stamps
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: run setup test room check bench clean test-deps web
.DEFAULT_GOAL := run

run: setup
	@$(BIN)/visavis run

setup: $(STAMPS)/python $(STAMPS)/system $(STAMPS)/models $(STAMPS)/web

$(STAMPS):
	@mkdir -p $@

$(STAMPS)/venv: | $(STAMPS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "visavis needs Python 3.11, 3.12 or 3.13; set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(STAMPS)/python: $(STAMPS)/venv pyproject.toml constraints.txt
	@echo "visavis: installing Python packages"
	@$(BIN)/pip install -q -c constraints.txt -e .
	@touch $@

$(STAMPS)/system: scripts/install_system.sh | $(STAMPS)
	@scripts/install_system.sh run
	@touch $@

$(STAMPS)/models: $(STAMPS)/python avatar/portrait/models.py
	@$(BIN)/python -m avatar.portrait.models
	@touch $@

WEB_SOURCES := $(shell find web/src web/public -type f 2>/dev/null) web/index.html web/package.json web/package-lock.json
$(STAMPS)/web: $(WEB_SOURCES) | $(STAMPS)
	@command -v npm >/dev/null || { echo "visavis needs Node 20 or newer (npm) to build the page"; exit 1; }
	@echo "visavis: building the page"
	@cd web && npm ci --silent && npm run --silent build
	@touch $@

web: $(STAMPS)/web

$(STAMPS)/dev: $(STAMPS)/python
	@$(BIN)/pip install -q -c constraints.txt -e '.[dev,train]'
	@touch $@

$(STAMPS)/system-test: scripts/install_system.sh | $(STAMPS)
	@scripts/install_system.sh test
	@touch $@

test-deps: setup $(STAMPS)/dev $(STAMPS)/system-test
	@scripts/install_livekit.sh

test: test-deps
	@cd web && npm run --silent test
	@$(BIN)/pytest

check: $(STAMPS)/dev $(STAMPS)/web
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@cd web && npm run --silent check

room: setup
	@scripts/install_livekit.sh
	@$(BIN)/visavis room

bench: setup
	@$(BIN)/visavis bench all

clean:
	rm -rf $(STAMPS) web/dist web/node_modules
