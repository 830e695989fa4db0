# make demo   two phantom radiographs, their bands, and a score, in out/demo
# make test   the tests
# make check  format, lint, types, layers, tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compiling every file of torch ahead takes longer than the rest of the installation.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt
CODE := src tests benchmarks docs/pictures.py docs/viewer_pictures.py

.PHONY: demo picture pictures test check static format constraints clean .venv

demo: $(VENV)/.base
	$(BIN)/crossray demo --out out/demo

# The picture of the README: make picture FILMS="normal-knee-ap.jpg normal-knee-lateral.jpg" (docs/data.md).
picture: $(VENV)/.base
	$(BIN)/crossray match $(FILMS) --out out/readme
	$(BIN)/python -c "from PIL import Image as I; I.open('out/readme/matches.png').convert('RGB').quantize(200).save('docs/images/readme.png', optimize=True)"

# The pictures of the other pages.
pictures: $(VENV)/.base
	$(BIN)/python docs/pictures.py
	$(BIN)/python docs/viewer_pictures.py
	$(BIN)/python benchmarks/physics.py
	$(BIN)/python benchmarks/looks.py docs/images/looks.png
	$(BIN)/python benchmarks/truth_figure.py docs/images/truth.png
	$(BIN)/python benchmarks/registration.py --starts 1 --picture docs/images/registration.png

test: $(VENV)/.dev
	$(BIN)/python -m pytest

check: static test

static: $(VENV)/.dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

# The environment with the development tools; `demo` needs less. Both are re-made when a requirement changes.
.venv: $(VENV)/.dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps timm==1.0.31  # torchvision, which it asks for, breaks beside a CPU's torch
	touch $@ $(VENV)/.base

# torch is held back: left alone, an installer takes the newest CUDA build. The header and the sources stay out of the file.
constraints: $(VENV)/.dev
	echo 'torch==2.13.0' > $(VENV)/held.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade \
	    --no-header --no-annotate -c $(VENV)/held.txt pyproject.toml -o $(VENV)/constraints.txt
	echo '# Versions known to work together, for every supported Python and platform. Made by: make constraints' > constraints.txt
	grep -v '^ *#' $(VENV)/constraints.txt >> constraints.txt

clean:
	rm -rf out build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
