"""Shared by every test. Shapes are checked at each call: the hook comes before any crossray."""

import ast
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import _import_hook, install_import_hook

# An int is a float, as it is to every type checker: `sod_mm=1000` is good.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
COMPILED = {"cfunc", "guvectorize", "jit", "njit", "overload", "stencil", "vectorize"}

settings.register_profile(
    "crossray", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("crossray")


def _decorator_name(node: ast.AST) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _leave_compiled_functions_alone() -> None:
    """A kernel must reach numba undecorated, so count numba's decorators as `no_type_check`."""
    asked = _import_hook._is_no_type_check

    def unchecked(node: ast.AST) -> bool:
        return asked(node) or _decorator_name(node) in COMPILED

    _import_hook._is_no_type_check = unchecked


_leave_compiled_functions_alone()
install_import_hook("crossray", CHECKER)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project; what needs it is skipped where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder of real data, {folder}")
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)
