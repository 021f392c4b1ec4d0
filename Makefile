# Needs python3 (3.11 or newer) with venv and pip, nothing else.
#   make setup CONSTRAINT=         install the newest torch, whatever the machine
#   make setup CONSTRAINT=FILE     install with another constraints file
#   make test PYTHON=/path/python3.12 VENV=.venv312

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test
# Without an NVIDIA driver the constraint keeps gigabytes of CUDA packages away; with one it would install a CPU build.
CONSTRAINT ?= $(if $(or $(shell command -v nvidia-smi),$(wildcard /proc/driver/nvidia/version)),,constraints/cpu.txt)

# The variable, not the option, so that isolated builds obey it too. The warnings are setuptools' own, about being editable.
PIP = PYTHONWARNINGS=ignore $(if $(CONSTRAINT),PIP_CONSTRAINT=$(abspath $(CONSTRAINT))) $(VENV)/bin/python -m pip
RUN = $(VENV)/bin/python
STAMP = $(VENV)/.installed-$(subst /,-,$(basename $(CONSTRAINT)))-$(EXTRAS)

.PHONY: setup demo test test-slow test-faults test-slurm lint prove bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINT)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --disable-pip-version-check --upgrade pip
	$(PIP) install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: setup
	$(RUN) -m repsynth.demo

test: setup
	$(RUN) -m pytest -n 2

test-slow: setup
	$(RUN) -m pytest -m slow

# TABLE=DIR keeps the table of faults as DIR/faults.md.
test-faults: setup
	$(RUN) -m pytest tests/faults -m faults -n 2 $(if $(TABLE),--faults-table $(TABLE))

# As root: installs slurm-wlm and munge with apt-get if they are missing.
test-slurm: setup
	tests/slurm/with_slurm.sh $(RUN) -m pytest -m slurm -s tests/slurm

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

prove: setup
	$(RUN) benchmarks/learning.py

bench: setup
	$(RUN) benchmarks/rasterizer.py
	$(RUN) benchmarks/training_step.py
	$(RUN) benchmarks/loader.py
	$(RUN) benchmarks/cips.py
	$(RUN) benchmarks/hidt.py
	$(RUN) benchmarks/set_metrics.py
	$(RUN) benchmarks/ddp_scaling.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
