# Two commands do everything on a fresh machine: `make demo` and `make test`.
#
# The environment is made once for each requirements.txt, under CACHE, and .venv links to it; so a
# second checkout with the same pins is ready at once.

PYTHON ?= python3
CACHE  ?= $(HOME)/.cache/worldsift
HASH   := $(shell cat requirements.txt | sha256sum | cut -c1-16)
ENV    := $(CACHE)/env-$(HASH)
PY     := .venv/bin/python
DATA   ?=
PORT   ?= 8000

WEB    := $(PYTHON) infra/web.py
# Without a network there are no npm packages (status 3): the HTTP API works all the same, and tests
# of the pages are skipped.  Sources that do not build are an error everywhere.
OR_DO_WITHOUT := || [ $$? -eq 3 ]

.PHONY: help env web pages browser demo test test-all lint bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

env: $(ENV)/.complete pages ## the Python environment (about 90 s, 9 GB, the first time) and the pages
	@ln -sfn $(ENV) .venv

# .complete is made last, so that an interrupted installation is never taken for whole.
$(ENV)/.complete:
	rm -rf $(ENV)
	mkdir -p $(CACHE)
	$(PYTHON) -m venv $(ENV)
	@echo "installing the environment (about 90 s, 9 GB) ..." >&2
	$(ENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

web: ## the pages, out of serving/web, where their sources have changed
	$(WEB) build --cache $(CACHE)

pages:
	@$(WEB) build --cache $(CACHE) $(OR_DO_WITHOUT)

browser: ## Debian's Chromium, for the browser tests
	@command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null) \
		|| echo "no Chromium could be installed: the browser tests will be skipped"

demo: env ## a search page over generated imagery; DATA=path-or-url for your own
	$(PY) infra/demo.py --port $(PORT) $(if $(DATA),--data "$(DATA)")

lint: env ## style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test: env browser lint ## all tests but the slow ones
	$(WEB) test --cache $(CACHE) $(OR_DO_WITHOUT)
	$(PY) -m pytest -m "not slow"

test-all: env browser lint ## the slow ones too
	$(WEB) test --cache $(CACHE) $(OR_DO_WITHOUT)
	$(PY) -m pytest

bench: env ## the benchmark tables
	$(PY) -m tests.benchmarks.embed
	$(PY) -m tests.benchmarks.search
	$(PY) -m tests.benchmarks.filters
	$(PY) -m tests.benchmarks.serve

clean: ## what demo and tests left in this checkout
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	rm -rf serving/web/dist serving/web/dist.part serving/web/dist.old serving/web/node_modules
