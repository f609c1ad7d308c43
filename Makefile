# The same targets for a person, a hook and CI. `make` lists the six most used (##), `make help-all` lists all (##+).
PYTHON ?= python3
VENV ?= .venv
DATA ?= ../shared/data
AUDIO ?= ../shared/audio
# torch is not in the lock: its builds (CPU, CUDA) differ from machine to machine.
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help help-all run test test-wheel test-training faults monitoring-test pauses kills fuzz soak check format bench bench-data rivals train families reference audit sbom lock clean

help:  ## list the most used targets; make help-all lists all
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

help-all:  ##+ list every target
	@grep -hE '^[a-z-]+:.*##\+? ' $(MAKEFILE_LIST) | sed -E 's/:.*##\+? /\t/' | expand -t 18

run: $(VENV)/.page  ## install and start the page and the API on port 7860
	$(BIN)/ccmusic serve

# One process for each core. More would be faster, but then the services that tests watch warn that they are slow.
# worksteal: each process gets tests that follow each other, so that what a file shares (a service, a browser) starts once.
JOBS ?= $(shell nproc 2>/dev/null || echo 1)
test: $(VENV)/.test  ## install and run the tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST)

# What needs no running service, no browser and no torch: for other Pythons, against the wheel as people install it.
FAST := tests/audio tests/features tests/models tests/inference tests/health tests/scoring tests/evaluation tests/alerting \
  tests/checkpoints/hub tests/batch/report tests/test_genres.py tests/test_settings.py tests/test_errors.py tests/test_parallel.py
WHEEL_VENV ?= $(VENV)-wheel
test-wheel:  ##+ build the wheel, install it in an empty environment, and run the fast tests there
	rm -rf $(WHEEL_VENV)
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r deploy/docker/build.txt -r requirements/test.txt
	$(WHEEL_VENV)/bin/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w $(WHEEL_VENV)/wheel .
	$(WHEEL_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps $(WHEEL_VENV)/wheel/*.whl
	cd tests && $(abspath $(WHEEL_VENV))/bin/python -c 'import ccmusic; assert "site-packages" in ccmusic.__file__, ccmusic.__file__'
	$(WHEEL_VENV)/bin/python -m pytest $(FAST) $(PYTEST)

# `make test` runs without torch, and skips these.
TORCH_TESTS = tests/training $(shell grep -rl --include='test_*.py' 'importorskip("torch")' tests/finetuning tests/checkpoints)
test-training: $(VENV)/.train $(VENV)/.test  ##+ run the tests that need torch
	$(BIN)/python -m pytest $(TORCH_TESTS) $(PYTEST)

# Rows that take long have 5 repeats at most; only a run of all of them makes the page.
REPEATS ?= 20
faults: $(VENV)/.test  ##+ inject every fault of the catalogue into the running service; writes docs/fault-matrix.md
	CCMUSIC_TEST_REPEATS=$(REPEATS) CCMUSIC_TEST_MATRIX=$(if $(filter 20,$(REPEATS)),docs/fault-matrix.md) \
	  $(BIN)/python -m pytest tests/faults -m fault $(PYTEST)

# The times as shipped take a quarter of an hour more, and make the pages.
TIMES ?= shipped
monitoring-test: $(VENV)/.deploy  ##+ test the files of deploy/ with the real programs; writes docs/alert-chain.md and docs/kubelet.md
	./tests/deploy/install
	$(if $(filter short,$(TIMES)),,CCMUSIC_TEST_PRODUCTION_TIMES=1 CCMUSIC_TEST_ALERT_CHAIN=docs/alert-chain.md) \
	  $(BIN)/python -m pytest tests/deploy -m deploy $(PYTEST)

pauses: $(VENV)/.test  ##+ stop the service 30 times for up to a minute and watch its probes; writes docs/pauses.md
	$(BIN)/python bench/pauses.py --write docs/pauses.md

kills: $(VENV)/.test  ##+ kill and stop each process below the front process 20 times; writes docs/kills.md
	$(BIN)/python bench/kills.py --write docs/kills.md

# A run resumes where the last one ended, from the folder .fuzz. For tables of a long run, first look for the known classes with
# an earlier version of the code (PYTHONPATH=OTHER_CHECKOUT/src python bench/fuzzing.py --known 12000 --folder BEFORE), then
# make fuzz FUZZ="--executions 1000000 --service 2000 --before BEFORE --write FILE"
fuzz: MINUTES = 10
fuzz: $(VENV)/.test  ##+ decode mutated recordings for MINUTES and count deaths, time and memory
	$(BIN)/python bench/fuzzing.py --minutes $(MINUTES) $(FUZZ)

MINUTES ?= 60
soak: $(VENV)/.test  ##+ saturate the service for MINUTES and watch its probes; with MINUTES=60 it adds 10 minutes beside busy loops and writes docs/soak.md
	$(BIN)/python bench/soak.py --minutes $(MINUTES) $(if $(filter 60,$(MINUTES)),--beside 10 --write docs/soak.md)

check: $(VENV)/.test $(VENV)/.check  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.check  ## format the code, and fix what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test  ##+ measure: CQT, mel and drawing against librosa and matplotlib, the pipeline by stage, start and memory, converted checkpoints
	$(BIN)/python bench/cqt.py --audio $(AUDIO)
	$(BIN)/python bench/mel.py --audio $(AUDIO)
	$(BIN)/python bench/drawing.py --audio $(AUDIO) examples
	$(BIN)/python bench/latency.py
	$(BIN)/python bench/formats.py --write docs/formats.md
	$(BIN)/python bench/checkpoints.py
	$(BIN)/python bench/explain.py --audio $(AUDIO) examples --write docs/explain.md

SPEECH ?=
bench-data: $(VENV)/.train  ##+ measure over DATA: how soon drift and non-music are noticed, and how far answers depend on level, codec and silence
	$(BIN)/python bench/drift.py --data $(DATA) --write docs/drift.md
	$(BIN)/python bench/non_music.py --data $(DATA) --audio $(AUDIO) examples --speech $(SPEECH) --write docs/odd-inputs.md
	$(BIN)/python bench/robustness.py --data $(DATA) --audio $(AUDIO) examples --write docs/robustness.md

rivals: $(VENV)/.test  ##+ inject the same faults into other serving frameworks; writes docs/health-rivals.md
	$(BIN)/python bench/health_rivals/run.py --work .rivals --write docs/health-rivals.md

train: $(VENV)/.train  ##+ train, evaluate and export the embedded model from DATA
	$(BIN)/python -m ccmusic.training --data $(DATA) --audio $(AUDIO) --work .train --out src/ccmusic/models/embedded

families: $(VENV)/.train  ##+ train other families of networks over the folds and print the table of docs/experiments.md
	$(BIN)/python bench/families.py --data $(DATA) --audio $(AUDIO) --work .train/families

reference: $(VENV)/.train  ##+ write the training profile of DATA into the embedded model's card, for drift detection
	$(BIN)/python -m ccmusic.training.profile --data $(DATA) --model src/ccmusic/models/embedded

audit: $(VENV)/.supply  ##+ look for known vulnerabilities of the locked packages; reports it if the vulnerability data is not available
	$(BIN)/python bench/audit.py $(VENV)-supply/bin/pip-audit

sbom: $(VENV)/.page $(VENV)/.supply  ##+ write dist/sbom.cdx.json (CycloneDX): the installed packages, and the libraries in their wheels
	mkdir -p dist
	$(VENV)-supply/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.cdx.json
	$(BIN)/python bench/licences.py --sbom dist/sbom.cdx.json

lock:  ##+ pin the dependencies again (needs uv)
	./requirements/lock

clean:  ## remove the environments, caches and work folders
	rm -rf $(VENV) $(VENV)-supply .train .rivals .fuzz .mypy_cache .ruff_cache .pytest_cache build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "CCMusic needs Python 3.11 or later; this is $$($(PYTHON) -V). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One recipe a set: the locked packages with their hashes, then this project itself.
$(VENV)/.page $(VENV)/.test $(VENV)/.deploy: $(VENV)/.%: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "Installing the locked packages of requirements/$*.txt into $(VENV) ..."
	$(PIP) --require-hashes -r requirements/$*.txt
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.check: requirements/check.txt | $(BIN)/python
	$(PIP) --require-hashes -r requirements/check.txt
	@touch $@

# In an environment of its own, so that it is in no list of parts.
$(VENV)/.supply: requirements/supply.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)-supply
	$(VENV)-supply/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/supply.txt
	@touch $@

$(VENV)/.train: requirements/train.txt pyproject.toml | $(BIN)/python
	@echo "Installing $(TORCH) and the locked packages of requirements/train.txt into $(VENV) ..."
	$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) $(TORCH)
	$(PIP) --require-hashes -r requirements/train.txt
	$(PIP) --no-deps -e .
	@touch $@
