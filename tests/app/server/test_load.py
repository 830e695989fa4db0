"""Readers hover while others upload: nobody is refused, and nobody waits for the others' films."""

import asyncio
import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "viewer_load.py"


def test_hovering_goes_on_while_films_come_in(tmp_path, running, weights):
    spec = importlib.util.spec_from_file_location("viewer_load", SCRIPT)
    load = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(load)
    with running(tmp_path, [weights]) as client:
        found = asyncio.run(load.measure(str(client.base_url), hovering=8, uploading=2, seconds=3))
    assert found["errors"] == 0
    assert found["hover"]["requests"] > 16
    assert found["upload"]["requests"] >= 2
    # The bound wanted, 100 ms at 50 readers, is measured by the benchmark on an idle machine; this one may be busy.
    assert found["hover"]["median_ms"] < 1000
