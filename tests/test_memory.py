"""What paths hold at most beyond the volume they are given, measured in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RESET = Path("/proc/self/clear_refs")
SIDE = 192
MOST = {
    "project": 0.3,
    "exact": 0.3,
    "plain product": 0.3,
    "render": 1.3,
    "attenuation": 1.3,
    "remove_table": 3.0,
}
"""Volumes, the output included. `remove_table` numbers parts in 4 bytes a voxel beside its masks."""

MEASURE = """
import ctypes, gc, json, sys
from pathlib import Path
import torch
from crossray import Cameras, correspondence, project, render
from crossray.volumes.table import remove_table
from crossray.volumes.volume import Volume

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])

def peaks(side):
    values = torch.full((side, side, side), -1000.0)
    part = slice(side // 4, 3 * side // 4)
    values[:, part, part] = 40.0
    volume = Volume(values, torch.diag(torch.tensor([192 / side] * 3 + [1.0])).double())
    cameras = Cameras.from_angles(primary=[0, 90], secondary=[0, 0], roll=[0, 0], sod_mm=1000,
        sdd_mm=1100, size=(64, 64), pixel_mm=4.0, isocenter=volume.center)
    works = {
        "project": lambda: project(volume, cameras),
        "exact": lambda: correspondence(volume, cameras),
        "plain product": lambda: correspondence(volume, cameras, normalise=False),
        "render": lambda: render(volume, cameras),
        "attenuation": lambda: volume.attenuation(60),
        "remove_table": lambda: remove_table(volume),
    }
    found = {}
    for name, work in works.items():
        gc.collect()
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        work()
        found[name] = (resident("VmHWM") - before) / (4 * side**3)
    return found

peaks(32)
print(json.dumps(peaks(int(sys.argv[1]))))
"""


@pytest.mark.skipif(not os.access(RESET, os.W_OK), reason="needs Linux's high-water mark")
def test_peaks_stay_below_what_is_stated():
    # A fixed threshold, so that freed arrays go back to the system at once.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, str(SIDE)]
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    peaks = json.loads(run.stdout)
    assert {name: peak for name, peak in peaks.items() if peak > MOST[name]} == {}
    assert peaks["attenuation"] > 0.9  # its output at least, so the measurement sees memory
