# setup: install everything into .venv, or into VENV: make test PYTHON=python3.13 VENV=.venv-3.13
# demo: fine-tune and benchmark on the embedded demo corpus
# test: static checks, and all tests but the slow ones   test-slow: the slow tests: whole trainings, benchmarks, experiments
# test-lowest: all tests but the slow ones, with the lowest versions of the requirements that pyproject.toml allows
# lint: static checks only   format: fix what ruff can
# wheel: build the package, install it into a fresh environment, and run its commands there
# results: run all comparisons with Whisper (hours, resumable); PARTS="digits test-other" selects parts
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo results test test-slow test-lowest lint format wheel requirements clean

setup: $(VENV)/installed

$(VENV)/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	touch $@

demo: setup
	$(BIN)/accelerate launch --config_file configs/accelerate/one.yaml \
	  finetune/train.py --config configs/finetune/demo.yaml --overwrite true
	$(BIN)/python benchmark/run.py --config configs/benchmark/demo.yaml --overwrite true

results: setup
	$(BIN)/python -m experiments.results $(PARTS) --docs true

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -n auto --dist load -m slow

test-lowest: setup
	rm -rf .venv-lowest
	$(BIN)/uv venv --quiet --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip install --quiet --resolution lowest-direct --python .venv-lowest/bin/python \
	  -e ".[test,rivals,onnx,openvino,app,ray,peers,demo]"
	.venv-lowest/bin/python -m pytest -n auto --dist loadfile -m "not slow"

wheel: setup
	rm -rf runs/wheel
	$(BIN)/uv build --quiet --out-dir runs/wheel
	ASR_WHEEL=runs/wheel $(BIN)/python -m pytest -q tests/test_wheel.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Pins for every platform, without index URLs; needs `uv`.
requirements:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --quiet --no-annotate \
	  --no-emit-index-url --custom-compile-command "make requirements" --output-file requirements.txt

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Leaves runs/ alone: trained models are there.
clean:
	rm -rf $(VENV) .venv-lowest .mypy_cache .pytest_cache .ruff_cache .hypothesis runs/wheel
