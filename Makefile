# Two commands that do everything on a fresh Debian 12; "make help" tells.

SHELL := /bin/bash

# pbr asks git for the version. Without git yet, or in a checkout that git
# will not look at (another user's), there is no answer and none is needed.
ifneq ($(shell git rev-parse --verify --quiet HEAD >/dev/null 2>&1; echo $$?),0)
export PBR_VERSION ?= 0.0.0
endif

RESULTS := .stestr .stestr-contract .stestr-functional

.PHONY: help demo test clean

help:
	@echo 'make demo   back up a running guest, destroy it, restore it'
	@echo 'make test   run every check and every test'
	@echo 'make clean  remove what these commands made in this directory'
	@echo
	@echo 'Both install what they need with apt (as root, or with sudo) and'
	@echo 'in .venv and .tox. "tox -a" lists the single checks.'

demo:
	@tools/bootstrap demo
	@.venv/bin/tox run -q -e demo

test:
	@tools/bootstrap test
	@rm -rf $(RESULTS)
	@status=0; \
	.venv/bin/tox run -e all || status=1; \
	.tox/all/bin/python tools/test-summary || status=1; \
	exit $$status

clean:
	rm -rf .venv .tox .cache .coverage .hypothesis .mypy_cache .ruff_cache
	rm -rf $(RESULTS) cover doc/build releasenotes/build
	rm -f etc/ekko/*.sample
