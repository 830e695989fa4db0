"""Shared by every test. Shapes are checked at each call: the hook comes before any crossray."""

import ast
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import _import_hook, install_import_hook

# An int is a float, as it is to every type checker: `sod_mm=1000` is good.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
COMPILED = {"cfunc", "guvectorize", "jit", "njit", "overload", "stencil", "vectorize"}

# The gate draws the same examples every time, so that it judges the change and not the draw; a desk draws new ones.
settings.register_profile(
    "crossray",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize="CI" in os.environ,
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


SIMULATE = """
import pickle, sys
import crossray
from crossray.correspondence import _cuda as voxels
from crossray.projection import _cuda as rays

# Small tiles and bricks, so that small scenes have several; a block's threads are Python's and take turns.
rays.TILE = 4
voxels.THREADS, voxels.BITS, voxels.BRICK = 8, (2, 2, 1), 32
sys.setswitchinterval(1e-4)
with open(sys.argv[1], "rb") as file:
    calls = pickle.load(file)
results = [getattr(crossray, name)(*arguments, **options) for name, arguments, options in calls]
with open(sys.argv[1], "wb") as file:
    pickle.dump(results, file)
"""
"""A process of its own, since numba chooses between GPU and simulator when it is imported."""


@pytest.fixture(params=["simulator", "gpu"])
def on_cuda(request, tmp_path):
    """Runs calls (name, (volume, cameras), options) of crossray's functions by the CUDA kernels."""

    def simulate(calls):
        path = tmp_path / "calls.pickle"
        path.write_bytes(pickle.dumps(calls))
        settings = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1"}
        source = str(Path(__file__).resolve().parents[1] / "src")
        command = [sys.executable, "-W", "error", "-c", SIMULATE, str(path)]
        subprocess.run(command, env=os.environ | settings | {"PYTHONPATH": source}, check=True)
        return pickle.loads(path.read_bytes())

    def compute(calls):
        import crossray

        results = [
            getattr(crossray, name)(volume.to("cuda"), cameras, **options)
            for name, (volume, cameras), options in calls
        ]
        assert all(result.is_cuda for result in results)
        return [result.cpu() for result in results]

    if request.param == "gpu" and not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU; the simulator runs the same kernels")
    return simulate if request.param == "simulator" else compute
