# `make` lists what there is. `make run` and `make test` each do all the set-up that they need.
#
# Variables, all optional:
#   PYTHON=python3.12         the Python that .venv is made with; default: the newest suitable one
#   ARGS="02 --profile smoke" passed on to the command behind run, test, lab or bench
#   WHEELS=DIR PACKS=DIR      install and fetch from these folders, without a network (both are in what `make usb` makes)
#   PLATFORMS="windows macos linux" PYTHONS="3.12 3.13"   what `make usb` collects for, besides this very system

version := import sys; print("%d.%d" % sys.version_info[:2])
suitable := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# .venv is made anew where the checkout was moved, its Python is gone, or PYTHON names another version.
anew := $(shell [ ! -e .venv/.installed ] || \
  { [ "$$(cat .venv/.installed)" = "$$(pwd -P)" ] && .venv/bin/python -c ""; } 2>/dev/null || echo anew)
ifneq ($(PYTHON),)
anew += $(shell [ "$$(.venv/bin/python -c '$(version)' 2>&1)" = "$$("$(PYTHON)" -c '$(version)' 2>&1)" ] || echo anew)
endif
anew := $(firstword $(anew))

.PHONY: help setup packs run test lab bench usb clean clean-all anew

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##  */make \1	/p' Makefile | expand -t 18

run: packs  ## run the notebooks and write a report (ARGS="02" for one, ARGS="--profile smoke" for a quick look)
	.venv/bin/python -m helpers run $(ARGS)

test: packs  ## run all tests
	.venv/bin/python -m pytest -p no:nbval --durations=15 -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lab: packs  ## open the notebooks in JupyterLab
	.venv/bin/python -m jupyterlab $(ARGS) notebooks

bench: packs  ## measure speed as ratios, and whether adversarial training stays stable; takes long
	.venv/bin/python -m tests.benchmarks $(ARGS)
	.venv/bin/python -m tests.benchmarks.downloads
	.venv/bin/python -m tests.benchmarks.apply
	.venv/bin/python -m tests.benchmarks.clouds
	.venv/bin/python -m tests.benchmarks.views
	.venv/bin/python -m tests.benchmarks.features
	.venv/bin/python -m tests.benchmarks.weights
	.venv/bin/python -m tests.benchmarks.kills
	.venv/bin/python -m tests.benchmarks.stability
	.venv/bin/python -m pytest tests/benchmarks/own_folders.py

setup: .venv/.installed  ## only make .venv and install into it

packs: .venv/.installed  ## only fetch the sample imagery
	.venv/bin/python -m helpers fetch $(if $(PACKS),--from-folder "$(PACKS)")

# While an installation is under way, .venv/.unfinished stands there; the next call then begins anew.
.venv/.installed: pyproject.toml constraints.txt $(anew)
	@if [ -n "$(anew)" ] || [ -e .venv/.unfinished ] || ! .venv/bin/python -c '$(suitable)' 2>/dev/null; then \
	  $(find_python) && \
	  rm -rf .venv && mkdir .venv && touch .venv/.unfinished && \
	  echo "Making .venv with $$("$$python" --version)" && "$$python" -m venv .venv; \
	fi
	@rm -f .venv/.installed; pwd -P > .venv/.unfinished
	@echo "Installing the packages of constraints.txt: the first time about 900 MB and 2 to 10 minutes"
	@PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install \
	  $(if $(WHEELS),--no-index --find-links "$(WHEELS)") -c constraints.txt -e '.[dev]' || { $(explain_failure); }
	@mv .venv/.unfinished .venv/.installed

# Sets $python to the first suitable one, or tells what was found and what is needed.
define find_python
if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; else set -- python3.13 python3.12 python3.11 python3; fi; \
found=; for python; do \
  has=$$("$$python" -c '$(version)' 2>/dev/null) || continue; \
  "$$python" -c '$(suitable)' 2>/dev/null && break; \
  case $$has in \
    3.11|3.12|3.13) found="$$found; $$python is $$has without venv (on Debian and Ubuntu: sudo apt install python$$has-venv)";; \
    *) found="$$found; $$python is $$has";; \
  esac; \
  has=; \
done; \
[ -n "$$has" ] || { \
  echo "Python 3.11, 3.12 or 3.13 with its venv module is needed. Looked for: $$*. Found: $${found:-; none}." | sed 's/: ; /: /'; \
  echo "Install one and try again, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; \
  false; \
} >&2
endef

define explain_failure
echo; \
echo "The installation did not finish; pip says above why. The same command begins it anew, downloads are kept."; \
echo "No TensorFlow found for this system? There are packages for Linux, macOS on Apple silicon, and 64-bit Windows."; \
exit 1
endef

usb: .venv/.installed  ## collect all in the folder usb, to install and run without internet
	@[ -e .git ] || { echo "make usb copies what git does not ignore: run it in a git checkout" >&2; false; }
	@mkdir -p usb/wheels usb/packs
	.venv/bin/python -m pip download --only-binary :all: -r constraints.txt -d usb/wheels
	@set -e; for system in $(PLATFORMS); do \
	  case $$system in \
	    windows) key=win32; tags=win_amd64;; \
	    macos) key=darwin; tags=macosx_14_0_arm64;; \
	    linux) key=linux; tags="manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64 manylinux2014_x86_64";; \
	    *) echo "PLATFORMS may name windows, macos and linux, not $$system" >&2; exit 1;; \
	  esac; \
	  for has in $(or $(PYTHONS),$$(.venv/bin/python -c '$(version)')); do \
	    echo "Packages for $$system, Python $$has"; \
	    .venv/bin/python -c "$$pins_for" $$key $$has > usb/pins.txt; \
	    .venv/bin/python -m pip download --only-binary :all: --no-deps -r usb/pins.txt -d usb/wheels \
	      --python-version $$has $$(printf ' --platform %s' $$tags); \
	  done; \
	done; rm -f usb/pins.txt
	SATELLITE_NOTEBOOKS_CACHE=usb/packs SATELLITE_NOTEBOOKS_DATA=usb/unpacked .venv/bin/python -m helpers fetch
	@rm -rf usb/unpacked usb/satellite-notebooks && mkdir usb/satellite-notebooks
	@git ls-files -z --cached --others --exclude-standard | tar -c --null -T - -f - | tar -x -C usb/satellite-notebooks -f -
	@has=$$(.venv/bin/python -c '$(version)'); printf '%s\n' "$$install_text" "" "Made for: $$(uname -sm) with Python $$has\
	$(foreach system,$(PLATFORMS),; $(system) with Python $(or $(PYTHONS),$$has))" > usb/INSTALL.txt
	@du -sh usb/*

# The lines of constraints.txt that count on another system: pip itself judges by the system that it runs on.
define pins_for
import sys
from packaging.requirements import Requirement
system, python = sys.argv[1:]
for line in open("constraints.txt", encoding="utf-8"):
    if not line.startswith("#"):
        pin = Requirement(line.strip())
        if not pin.marker or pin.marker.evaluate({"sys_platform": system, "python_version": python}):
            print(pin.name + str(pin.specifier))
endef
export pins_for

define install_text
Satellite notebooks: installing and running without internet
=============================================================

Copy this whole folder onto a computer of a kind that the last line names, with the
Python named there and 5 GB of free disk.

Linux and macOS (14 or later, Apple silicon), in a terminal in this folder:

    cd satellite-notebooks
    make run WHEELS=../wheels PACKS=../packs
    make lab

Windows, in a command prompt in this folder, here with Python 3.12:

    cd satellite-notebooks
    py -3.12 -m venv .venv
    .venv\Scripts\python -m pip install --no-index --find-links ..\wheels -c constraints.txt -e .[dev]
    .venv\Scripts\python -m helpers fetch --from-folder ..\packs
    .venv\Scripts\python -m helpers run
    .venv\Scripts\python -m jupyterlab notebooks

The run takes about 20 minutes and writes a report; its last line says where. To install
without it: `make lab WHEELS=../wheels PACKS=../packs`; on Windows leave out its line.
endef
export install_text

clean:  ## remove .venv, caches, fetched imagery and the folder usb; keep runs, acquired data sets and your own files
	rm -rf .venv usb build *.egg-info .pytest_cache .ruff_cache data/packs data/practice data/downloads data/maps data/views
	@find . -name __pycache__ -prune -exec rm -rf {} + ; find . -name .ipynb_checkpoints -prune -exec rm -rf {} +
	@[ ! -e runs ] || echo "Kept: the folder runs, with the results. To remove it too: make clean-all"

clean-all: clean  ## the same, and remove runs and bench.json
	rm -rf runs bench.json
