# Every target sets up what it needs: a virtual environment of its own in .venv, and this checkout in it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test image-test bench clean

demo: .venv/installed ## train, evaluate and look at a first classifier
	$(BIN)/ignite-vision run digits

test: .venv/installed-dev ## everything that a change must pass
	PATH="$(CURDIR)/$(BIN):$$PATH" ./check

image-test: .venv/installed-dev ## build the container image and run it as its users do; as root, on Debian
	PATH="$(CURDIR)/$(BIN):$$PATH" container/image_test.sh

bench: .venv/installed ## measure every claim about speed; wants IGNITE_VISION_TEST_DATA
	$(BIN)/python -m benchmarks

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/installed: .venv/bin/python setup.cfg
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/installed-dev: .venv/bin/python setup.cfg
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@ .venv/installed

clean: ## remove the virtual environment and the caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
