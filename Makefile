# claimflow. `make demo` runs the whole line on this machine, `make test` the tests.
#   make demo DATA=train.csv TEST=test.csv [PREDICT=new.csv] [TEXT=column] [LABEL=column]

PYTHON ?= $(shell for p in python3.11 python3.10 python3 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null \
  && command -v $$p && break; done)
UV := .venv/bin/uv
LOCK = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
  --no-header --python-version 3.10
READY := .venv/.ready
# Checkov pins packages that do not go with ours, so what checks other languages than Python has an
# environment of its own.
SCAN := .venv/scan
TEMPLATES = $(wildcard */stack.yaml)

# Where it is set, each of the tests' processes would compile all that it imports anew: 4 s with MXNet.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint docs lock image-gpu clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   the whole line on this machine, from labelled claims to labelled predictions"
	@echo "make test   the test suite"
	@echo "make lint   format, lint, types, room boundaries, templates and their security, shell, workflows"
	@echo "make docs   write docs/configuration.md from the settings, and what the pipeline knows of hyperparameters"
	@echo "make lock   resolve the requirements anew"
	@echo "make image-gpu   build the image for GPUs (4 GB) and try it with a stub of their driver"
	@echo "make clean  remove the environment and what the local cloud keeps"

demo: $(READY)
	@.venv/bin/claimflow demo $(if $(DATA),--train "$(DATA)") $(if $(TEST),--test "$(TEST)") \
	  $(if $(PREDICT),--predict "$(PREDICT)") $(if $(TEXT),--text-column "$(TEXT)") \
	  $(if $(LABEL),--label-column "$(LABEL)")

test: $(READY)
	.venv/bin/pytest --numprocesses $(shell nproc) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY) $(SCAN)/.ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/cfn-lint $(TEMPLATES)
	BC_SKIP_MAPPING=TRUE $(SCAN)/bin/checkov --framework cloudformation --skip-download --compact --quiet \
	  --file $(TEMPLATES)
	$(SCAN)/bin/shellcheck .ci/run ci/containers ci/machine
	$(SCAN)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(SCAN)/bin/zizmor --offline --quiet --no-progress --persona pedantic .github

# uv comes first, by its hash; it installs everything else in seconds.
$(READY): requirements.txt containers/uv.txt containers/build.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 or 3.11 was found (MXNet knows no newer one); \
	install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null \
	|| { echo "error: $(PYTHON) is no Python 3.10 or 3.11" >&2; exit 2; }
	@echo "making .venv with $(PYTHON)"
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r containers/uv.txt
	@$(UV) pip sync --quiet --require-hashes --build-constraints containers/build.txt requirements.txt
	@$(UV) pip install --quiet --no-deps --build-constraints containers/build.txt --editable .
	@touch $@

$(SCAN)/.ready: ci/scan.txt $(READY)
	@rm -rf $(SCAN)
	@.venv/bin/python -m venv --without-pip $(SCAN)
	@$(UV) pip sync --quiet --python $(SCAN)/bin/python --require-hashes ci/scan.txt
	@touch $@

docs: $(READY)
	.venv/bin/python docs/configuration.py 2>/dev/null

lock: $(READY)
	echo 'uv' | $(LOCK) - --output-file containers/uv.txt
	$(LOCK) containers/build.in --output-file containers/build.txt
	$(LOCK) containers/validate.in --output-file containers/validate.txt
	$(LOCK) containers/gluon-cpu.in --output-file containers/gluon-cpu.txt
	$(LOCK) containers/gluon-gpu.in --output-file containers/gluon-gpu.txt
	$(LOCK) ci/scan.in --output-file ci/scan.txt
	$(LOCK) tests/benchmarks/peers.in --output-file tests/benchmarks/peers.txt
	$(LOCK) --extra dev pyproject.toml --output-file requirements.txt

image-gpu: $(READY)
	.venv/bin/claimflow images build gluon-gpu
	CLAIMFLOW_REQUIRE_ENGINE=gluon-gpu .venv/bin/pytest tests/containers/test_gpu_image.py $(ARGS)

clean:
	@test ! -x .venv/bin/claimflow || .venv/bin/claimflow local down
	rm -rf .venv .claimflow
