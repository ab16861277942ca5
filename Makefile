# The two commands: `make demo` and `make test`. Both make what they need, once.
#
# Settings:  CLOUD=path         the cloud that `make demo` looks at
#            UP=auto            its axis that points up: auto, z, y or -y
#            PYTHON3=python3.12 the Python (3.10 or newer) that makes the environment
#            TORCH_INDEX=URL    a further package index to take torch from, for example one with
#                               CPU-only builds, which are much smaller than those with CUDA
#            TEST_JOBS=2        how many tests that need no ROS run at once
PYTHON3 ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
TORCH := torch==2.13.0
# torch's CUDA builds bring the Triton they need; this is for the others.
TRITON := 'triton==3.8.0 ; sys_platform == "linux" and python_version < "3.11"' \
  'triton==3.9.0 ; sys_platform == "linux" and python_version >= "3.11"'
CLOUD ?= sr3d_core/data/sample/room.npz
UP ?= auto
TEST_JOBS ?= 2
TEST_CORE = OMP_NUM_THREADS=1 $(PYTHON) -m pytest test --ignore=test/ros \
  -n $(TEST_JOBS) --dist worksteal

# The tests start many processes: each would compile all modules again where containers say this.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint types test-core test-open3d test-package docs venv clean

help: ## show this
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: $(VENV)/.installed ## find objects in a sample room, or in CLOUD=path; draws out/demo.png
	@mkdir -p out
	@$(VENV)/bin/sr3d detect "$(CLOUD)" --up "$(UP)" --json out/demo.json --picture out/demo.png

test: lint types test-core test-ros ## style, types, all tests: about six minutes

quick: lint types ## style, types, the quick tests that need no ROS: for the edit loop
	$(TEST_CORE) -m "not slow"

lint: $(VENV)/.installed-dev ## style
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: $(VENV)/.installed-dev ## static types
	$(PYTHON) -m mypy sr3d_core sr3d_ros

test-core: $(VENV)/.installed-dev ## the tests that need no ROS
	$(TEST_CORE)

test-open3d: $(VENV)/.installed-dev ## the tests with Open3D, which .venv gets for them
	@$(PIP) --editable '.[open3d]'
	@$(PYTHON) -c 'from sr3d_core.open3d_bridge import load_open3d; load_open3d()'
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest test/test_open3d_bridge.py test/test_mesh_files.py \
	  test/test_cli_view.py test/test_examples.py

test-package: $(VENV)/.installed ## build dist/, check it, detect with the wheel in a fresh environment
	@$(PIP) build twine
	rm -rf dist build && $(PYTHON) -m build
	$(PYTHON) -m twine check --strict dist/*
	rm -rf out/package && $(PYTHON3) -m venv out/package
	out/package/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) dist/*.whl
	cd out/package && bin/sr3d data room room.npz && bin/sr3d detect room.npz --json boxes.json
	cd out/package && bin/sr3d data init my_rooms && bin/sr3d doctor

docs: $(VENV)/.installed-docs ## the documentation site, in docs/_build; a warning is an error
	$(PYTHON) -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs docs/_build

venv: $(VENV)/.installed-dev ## the development environment in .venv

clean: ## remove environments, caches and results
	rm -rf .venv .venv-kilted .venv-jazzy out build dist install log docs/_build *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "$(PYTHON3) is older than 3.10; install a newer one and set PYTHON3=python3.12"; exit 1; }
	@echo "making $(VENV); the first time takes some minutes"
	@$(PYTHON3) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON3) -m venv does not work; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(TORCH)
	@$(PIP) --editable '.[viz]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PYTHON) -c 'import triton' 2>/dev/null || $(PIP) $(TRITON)
	@$(PIP) --editable '.[train,viz,bag,engines,dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@$(PIP) --editable '.[viz,bag,docs]'
	@touch $@

# Where the ROS part is not checked out, its tests are left out.
-include make/ros.mk
ifeq ($(wildcard make/ros.mk),)
.PHONY: test-ros
test-ros: ; @echo "make/ros.mk is missing: ROS tests skipped"
endif
