# make run     search with `python -m tuner.run --model fc`; MODEL=cnn and ARGS="--samples 4" change that
# make test    lint, types and tests, but for those of the four below
# make test-long   what takes long by nature: pages in every size, kills by the hundred
# make test-nodes   searches on several nodes of Ray, all of them on this machine
# make test-wheel   builds the wheel, installs it where no checkout is, and searches there
# make test-cluster   the files for clusters, `ray up` and Slurm on hosts of this machine; needs root and Debian packages
# make bench   every benchmark, more than half an hour; results are printed
# make docs    writes the tables in docs/ anew from the code, and builds the site into site/
# make docs-serve   shows the site while it is written, on http://127.0.0.1:8000
PYTHON ?= python3
MODEL ?= fc
BIN := .venv/bin
# A process that dies ends the run: xdist would wait for ever for the rest of its file
TWO_AT_ONCE := --numprocesses 2 --dist loadscope --no-loadscope-reorder --max-worker-restart 0

.PHONY: run test test-long test-nodes test-wheel test-cluster bench docs docs-serve
run: .venv/installed
	$(BIN)/python -m tuner.run --model $(MODEL) $(ARGS)

test: .venv/installed
	$(BIN)/pytest $(TWO_AT_ONCE) \
		--ignore tests/cluster --ignore tests/tuner/on_nodes --ignore tests/test_wheel.py $(ARGS)

test-long: .venv/installed
	$(BIN)/pytest -m long -rs $(ARGS)
	$(BIN)/python -m tests.faults

test-nodes: .venv/installed
	$(BIN)/pytest tests/tuner/on_nodes -rs $(ARGS)

test-wheel: .venv/installed
	$(BIN)/pytest tests/test_wheel.py -rs $(ARGS)

test-cluster: .venv/installed
	$(BIN)/pytest tests/cluster $(TWO_AT_ONCE) -rs $(ARGS)

docs: .venv/installed
	$(BIN)/python -m docs.generate
	$(BIN)/mkdocs build

docs-serve: .venv/installed
	$(BIN)/mkdocs serve

bench: .venv/installed
	for name in reading targets epoch cnn_step cnn_epoch can_step concurrent gpu_epoch perceptual search start storage nodes driver ask usage timing aggregate dashboard; do $(BIN)/python -m benchmarks.bench_$$name || exit 1; done

# Made anew when a version changes; the stamp comes last, so that a broken-off installation starts again
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv || { echo "error: no virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dashboard,dev,export,peers]"
	touch $@
