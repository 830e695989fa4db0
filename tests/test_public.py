"""The public names are a contract: added to, never renamed. Importing them costs nothing."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import crossray

ROOT = Path(__file__).resolve().parents[1]

PUBLIC = {
    "Cameras",
    "InputError",
    "Matcher",
    "Matches",
    "Sample",
    "Volume",
    "__version__",
    "correspondence",
    "guide",
    "make_sample",
    "phantom",
    "project",
    "read_ct",
    "read_radiograph",
    "render",
}


def _run(script):
    """Run in a fresh interpreter, without the tests' import hook."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout.split()


def test_public_names_are_the_checked_in_list():
    assert set(crossray.__all__) == PUBLIC
    assert set(dir(crossray)) == PUBLIC
    assert len(PUBLIC) <= 20


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_documented(name):
    value = getattr(crossray, name)
    if name != "__version__":
        assert callable(value)
        assert value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="crossray"):
        crossray.no_such_name  # noqa: B018


def test_importing_crossray_imports_nothing_heavy():
    loaded = _run("import sys, crossray; print(*sys.modules)")
    assert not {"torch", "numpy", "numba", "lightning", "SimpleITK"} & set(loaded)


ORDERS = [
    "import crossray as cr",
    "import crossray.correspondence; import crossray as cr",
    "import crossray.correspondence.blocks; import crossray as cr",
    "import crossray as cr; cr.correspondence; import crossray.correspondence.patches",
    "import crossray as cr; from crossray import correspondence as c; assert c is cr.correspondence",
    "from crossray.correspondence import correspondence; import crossray as cr",
    "from crossray.correspondence.ground_truth import correspondence; import crossray as cr",
    "import crossray.data.sample; import crossray as cr",
]


def test_correspondence_is_the_function_and_the_room_in_every_import_order():
    _run(
        "import inspect, sys, torch, numba\n"
        f"for order in {ORDERS!r}:\n"
        "    for name in [name for name in sys.modules if name.startswith('crossray')]:\n"
        "        del sys.modules[name]\n"
        "    exec(order)\n"
        "    import crossray as cr, crossray.correspondence.blocks as blocks\n"
        "    from crossray.correspondence.ground_truth import correspondence as function\n"
        "    assert cr.correspondence.blocks is blocks\n"
        "    assert inspect.signature(cr.correspondence) == inspect.signature(function)\n"
        "    try:\n"
        "        cr.correspondence(None, None, definition='neither')\n"
        "    except cr.InputError as error:\n"
        "        assert 'neither' in str(error)\n"
        "    else:\n"
        "        raise SystemExit(f'{order}: the function was not called')\n"
    )


def test_the_version_stands_once():
    assert crossray.__version__ == importlib.metadata.version("crossray")
    assert f"version: {crossray.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {crossray.__version__}" in (ROOT / "CHANGELOG.md").read_text()


COMMANDS = ("demo", "render", "train", "evaluate", "match", "classify", "doctor")


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)])
def test_help_answers_without_torch(arguments):
    command = [sys.executable, "-X", "importtime", "-m", "crossray.app.cli", *arguments, "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    assert "Usage" in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.endswith((" torch", " numpy"))]
