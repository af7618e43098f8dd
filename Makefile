# Two commands that do everything on a fresh Debian 12; "make help" tells.

SHELL := /bin/bash

# pbr and Sphinx ask git about this checkout; whoever owns it, it may answer.
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := $(CURDIR)

RESULTS := .stestr tests/contract/.stestr tests/functional/.stestr \
	tests/cloud/.stestr .tox/nova*/.stestr \
	$(or $(EKKO_ONEBOX),/var/tmp/ekko-onebox)/tempest

.PHONY: help demo demo-engine test clean

help:
	@echo 'make demo         a cloud: boot a server, back it up into Swift,'
	@echo '                  wreck its disk, restore it in place'
	@echo 'make demo-engine  without a cloud: back up a running guest, destroy'
	@echo '                  it, restore it'
	@echo 'make test         run every check and every test'
	@echo 'make clean        remove what these commands made in this directory'
	@echo
	@echo 'They install what they need with apt (as root, or with sudo) and'
	@echo 'in .venv and .tox. "tox -a" lists the single checks. The cloud needs'
	@echo 'root, lives in /var/tmp/ekko-onebox, and ends with'
	@echo 'tools/onebox/down.'

demo:
	@tools/bootstrap onebox
	@tools/onebox/up
	@.venv/bin/tox run -q -e demo

demo-engine:
	@tools/bootstrap demo
	@.venv/bin/tox run -q -e demo-engine

test:
	@tools/bootstrap test onebox
	@rm -rf $(RESULTS)
	@status=0; \
	.venv/bin/tox run -e all || status=1; \
	.venv/bin/tox run -e nova34,nova31-eventlet || status=1; \
	tools/onebox/up || status=1; \
	.venv/bin/tox run -e cloud || status=1; \
	.venv/bin/tox run -e tempest || status=1; \
	tools/onebox/up --driver stock || status=1; \
	.venv/bin/tox run -e tempest-servers || status=1; \
	tools/onebox/down || status=1; \
	.tox/all/bin/python tools/test-summary || status=1; \
	exit $$status

clean:
	rm -rf .venv .tox .cache .coverage .hypothesis .mypy_cache .ruff_cache
	rm -rf $(RESULTS) cover doc/build releasenotes/build api-ref/build
	rm -f etc/ekko/*.sample
