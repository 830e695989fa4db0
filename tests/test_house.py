"""The limits the house sets itself, and what its lower rooms may need."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LEAN = ["correspondence", "evaluation.metrics", "geometry", "models", "projection.physics"]
HEAVY = ["PIL", "SimpleITK", "gdcm", "lightning", "matplotlib", "openjpeg", "pydantic", "pydicom"]
HEAVY += ["rich", "scipy", "typer", "yaml"]


def _functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _body_lines(function):
    """Lines of a function after its signature and docstring."""
    body = function.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = body[1] if documented and len(body) > 1 else body[0]
    return function.end_lineno - first.lineno + 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_files_and_bodies_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    long = [f.name for f in _functions(ast.parse(text)) if _body_lines(f) > 80]
    assert not long


def test_no_room_is_called_a_drawer():
    drawers = {"utils", "common", "core", "helpers", "misc"}
    assert not [path for path in SOURCES if drawers & set(path.with_suffix("").parts)]


def test_lower_rooms_need_only_torch_numpy_numba():
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HEAVY!r}))\n"  # importing any of them now fails
        + "".join(f"import crossray.{room}\n" for room in LEAN)
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


class _Finder(doctest.DocTestFinder):
    """Also finds functions that the import hook has wrapped, whose globals are then the hook's."""

    def _from_module(self, module, object):
        return getattr(object, "__module__", None) == module.__name__ or super()._from_module(
            module, object
        )


def _modules():
    import crossray

    found = pkgutil.walk_packages(crossray.__path__, "crossray.")
    return ["crossray", *(module.name for module in found)]


@pytest.mark.parametrize("name", _modules())
def test_examples_in_the_docstrings_hold(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in _Finder().find(module, globs=dict(vars(module))):
        runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_examples_in_the_pages_hold(page):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failures, _ = doctest.testfile(
        str(page), module_relative=False, optionflags=flags, encoding="utf-8"
    )
    assert failures == 0


def test_every_public_function_says_what_it_does():
    silent = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
            if named and not ast.get_docstring(node) and node.col_offset == 0:
                silent.append(f"{path.name}:{node.name}")
    assert not silent


def test_the_finder_sees_hooked_functions():
    module = importlib.import_module("crossray.volumes.volume")
    names = [test.name for test in doctest.DocTestFinder(exclude_empty=False).find(module)]
    assert any(name.endswith("Volume") for name in names)
    assert inspect.isclass(module.Volume)
