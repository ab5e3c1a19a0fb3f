# Encap: everything that a newcomer or a build machine types.
#   make demo    a hypervisor, a container and the chain between them, on this machine
#   make test    all tests; the real machines (LXC) too when run as root on Debian
PYTHON ?= python3
VENV := .venv
SOURCES := $(shell find agentd api cli drivers -name '*.py' -o -name '*.md' 2>/dev/null)
PIP := $(VENV)/bin/pip --disable-pip-version-check --quiet
LAB_PACKAGES := lxc mmdebstrap iproute2 iputils-arping iputils-ping nftables util-linux dbus \
	btrfs-progs xfsprogs e2fsprogs libvirt-dev pkg-config gcc python3-dev \
	libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 busybox-static cpio

.DEFAULT_GOAL := help
.PHONY: help install demo test tools lab lab-packages libvirt bench check lock docs clean

help:
	@echo "make install | demo | test | lab | bench | check | docs | lock | clean"

$(VENV)/bin/python:
	@.ci/python-venv $(PYTHON) $(VENV)

# Dependencies, then the product itself: a normal install, redone when a source changed.
$(VENV)/.dependencies: requirements.lock $(VENV)/bin/python
	@echo "Installing dependencies"
	@$(PIP) install --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.tools: requirements-dev.lock $(VENV)/.dependencies
	@echo "Installing development tools"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.product: pyproject.toml README.md $(SOURCES) $(VENV)/.dependencies
	@echo "Installing encap into $(VENV)"
	@$(PIP) install --no-deps --force-reinstall \
		$(if $(wildcard $(VENV)/.tools),--no-build-isolation) .
	@touch $@

install: $(VENV)/.product

demo: install
	@$(VENV)/bin/svc demo

tools: $(VENV)/.tools
	@$(MAKE) --no-print-directory install

# What the tests on real machines need; a user without root goes on, and the tests say what is missing.
lab-packages:
	@.ci/lab-packages $(LAB_PACKAGES)

# The library has no wheels: it is built against the machine's libvirt, where that has its headers.
$(VENV)/.libvirt: requirements-libvirt.lock $(VENV)/.tools | lab-packages
	@if pkg-config --exists libvirt 2>/dev/null; then echo "Building libvirt-python" && \
		$(PIP) install --no-build-isolation --require-hashes -r requirements-libvirt.lock && touch $@; \
	else echo "Without the headers of libvirt (libvirt-dev) the tests of KVM are skipped and say so." >&2; fi

libvirt: $(VENV)/.libvirt

test: tools lab-packages libvirt
	$(VENV)/bin/pytest -rs

lab: tools lab-packages libvirt
	$(VENV)/bin/pytest -rs tests/lab

bench: tools
	@for each in benchmarks/[a-z]*.py; do echo "== $$each"; $(VENV)/bin/python -P "$$each" || exit 1; done

check: tools
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

docs: tools
	$(VENV)/bin/mkdocs build --strict --quiet

# Newest versions that fit pyproject.toml, with hashes. Needs uv.
lock:
	uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header pyproject.toml -o requirements.lock
	uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	echo libvirt-python | uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header - -o requirements-libvirt.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
