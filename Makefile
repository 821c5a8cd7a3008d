# Everything a newcomer or CI runs; each target installs what it needs. `make help` lists them.

VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The tests of a file share what it starts, so one process runs them. In the order of the folders: the longest files have
# few tests, and would be the last to start.
JOBS := 2
SIDE_BY_SIDE = -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check format bench chaos clean

help:  ## Show what there is.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed-demo  ## Replay 336,776 real flights and watch the tables. ARGS=--drain stops at the end.
	@exec $(BIN)/flows worker -l info -A examples/flights $(ARGS)

test: $(VENV)/.installed-dev  ## Run all tests, Chromium's and Kafka's too, JOBS=2 at once. ARGS=tests/docs runs some.
	@.ci/browser
	@.ci/kafka >/dev/null
	@$(BIN)/python -m tests.kafka.shared_classes
	@exec $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

check: $(VENV)/.installed-dev  ## Lint, formatting, strict types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## Put the code into the one format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev  ## Measure events a second. ARGS=--nexmark: its queries; --joins; --lookups; --kafka, --peers, --latency, --restore: on a real Kafka.
	@exec $(BIN)/python -m tests.benchmarks $(ARGS)

chaos: $(VENV)/.installed-dev  ## Kill workers and brokers of a Kafka app for MINUTES=30; all must stay exact.
	@.ci/kafka >/dev/null
	@exec $(BIN)/python -m tests.kafka.chaos --minutes $(or $(MINUTES),30) $(ARGS)

clean:  ## Remove the venv and the caches; .flows, where the data is, stays.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A stamp is newer than pyproject.toml when its packages are in. The package is installed in place, so that a changed
# source needs no new install.
$(VENV)/.installed-demo: pyproject.toml
	@.ci/install '.[demo]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	@.ci/install '.[demo,dev]'
	@touch $(VENV)/.installed-demo $@
