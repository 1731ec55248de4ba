# make run   talk to the avatar        make test  everything the tests need, then all tests
# make room  the same through LiveKit  make check  formatting, types, architecture
# make bench measure this machine      make setup  the part they share (idempotent)

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: run setup test room check bench clean test-deps web system models node
.DEFAULT_GOAL := run

run: setup
	@$(BIN)/visavis run

setup: $(STAMPS)/python system models web

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || { echo "visavis needs Python 3.11, 3.12 or 3.13; set PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/python: $(STAMPS)/venv pyproject.toml constraints.txt
	@echo "visavis: installing Python packages (some minutes the first time)"
	@$(BIN)/pip install -q -c constraints.txt -e .
	@touch $@

system:
	@scripts/install_system.sh run

models: $(STAMPS)/python
	@$(BIN)/python -m avatar.portrait.models

NODE_OK := const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)
node:
	@command -v npm >/dev/null && node -e '$(NODE_OK)' \
		|| { echo "visavis needs Node 20.19 or newer (with npm) to build the page"; exit 1; }

web: web/dist/index.html

WEB_SOURCES := $(shell find web/src web/public -type f 2>/dev/null) web/index.html web/package.json web/package-lock.json
web/dist/index.html: $(WEB_SOURCES) | node
	@echo "visavis: building the page"
	@cd web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build
	@touch $@

$(STAMPS)/dev: $(STAMPS)/python
	@$(BIN)/pip install -q -c constraints.txt -e '.[dev,train]'
	@touch $@

test-deps: setup $(STAMPS)/dev
	@scripts/install_system.sh test
	@scripts/install_livekit.sh

test: test-deps
	@cd web && npm run --silent test
	@TEST_ALL=1 $(BIN)/pytest

check: $(STAMPS)/dev web
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
	rm -rf $(VENV) web/dist web/node_modules
