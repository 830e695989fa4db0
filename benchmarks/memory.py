"""Measures what memory each path takes beyond the volume it is given, in units of that volume.

    MALLOC_MMAP_THRESHOLD_=65536 python benchmarks/memory.py [--sides 256 384] [--only WORD]

The bound: one more volume, and the output. A path's peak is the high-water mark of the resident set (VmHWM, set back by
/proc/self/clear_refs: Linux only) less what was resident before the call; the volume lies in memory by then, and a
small run before has loaded and compiled whatever the path needs. `read_ct` is given a file: what it reads is output.
"""

import argparse
import ctypes
import gc
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from simulator import knee, orbit

from crossray.correspondence import (
    band,
    correspondence,
    correspondence_by_label,
    pixel_correspondence,
)
from crossray.data.sample import Source, prepare
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.appearance import render
from crossray.projection.materials import decompose
from crossray.volumes.hardware import Cast, Plate, ring
from crossray.volumes.inspection import Inspected, inspect_ct
from crossray.volumes.io import read_ct, write_volume
from crossray.volumes.limbs import split_limbs
from crossray.volumes.resample import resample
from crossray.volumes.table import remove_table
from crossray.volumes.volume import AIR_HU, Volume

Work = Callable[[], object]


def resident(field: str) -> int:
    """VmRSS or VmHWM, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def peak_of(work: Work) -> tuple[int, object]:
    """Bytes that a call takes at most beyond what is resident already, and its result."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    result = work()
    return resident("VmHWM") - before, result


def held_by(result: object) -> int:
    """Bytes of the tensors in a result."""
    if isinstance(result, Volume):
        return held_by(result.values)
    if isinstance(result, torch.Tensor):
        parts = (
            (result.crow_indices(), result.col_indices(), result.values())
            if result.layout == torch.sparse_csr
            else (result,)
        )
        return sum(part.numel() * part.element_size() for part in parts)
    if isinstance(result, Source):
        return held_by([result.volume, result.attenuation])
    if isinstance(result, Inspected):
        return held_by([result.volume, result.clean])
    if isinstance(result, dict):
        return held_by(list(result.values()))
    return sum(map(held_by, result)) if isinstance(result, list | tuple) else 0


def two_limbs(side: int) -> Volume:
    """Two small knees beside each other, voxels of 1 mm at a side of 256."""
    small = knee(side // 2)
    values = torch.full((side, side, side), AIR_HU)
    part = slice(side // 4, side // 4 + side // 2)
    values[part, part, : side // 2] = small.values
    values[part, part, side // 2 :] = small.values
    return Volume(values, torch.diag(torch.tensor([256 / side] * 3 + [1.0])).double(), "two knees")


def write_dicom(folder: Path, volume: Volume, skipped: int) -> Path:
    """A series as a scanner writes it, one slice left out."""
    folder.mkdir()
    series = generate_uid()
    for number, plane in enumerate(volume.values):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            CTImageStorage,
            generate_uid(),
        )
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        header.SOPClassUID, header.Modality, header.SeriesInstanceUID = CTImageStorage, "CT", series
        header.ImagePositionPatient = [0.0, 0.0, float(number)]
        header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
        header.Rows, header.Columns = plane.shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
        header.PixelRepresentation, header.RescaleSlope, header.RescaleIntercept = 0, 1, -1024
        header.PixelData = (plane.numpy().round() + 1024).astype(np.uint16).tobytes()
        if number != skipped:
            header.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def gradient(volume: Volume, cameras: Cameras) -> object:
    """The adjoint: a volume the size of the one that was projected."""
    values = volume.values.detach().requires_grad_()
    project(Volume(values, volume.world_from_voxel), cameras).sum().backward()
    return values.grad


def readers(folder: Path, side: int) -> dict[str, Work]:
    """Files written, and what reads them."""
    volume = knee(side)
    ct = Volume(volume.values.round().clamp(-1024, 3071), volume.world_from_voxel, "knee")
    write_volume(folder / "whole.nii.gz", ct)
    write_volume(folder / "float.nii", volume)
    padded = ct.values.clone()
    padded[:, :8] = -2000
    write_volume(folder / "padded.nii", Volume(padded, ct.world_from_voxel))
    write_dicom(folder / "sound", ct, -1)
    write_dicom(folder / "hole", ct, side // 2)
    names = ("whole.nii.gz", "float.nii", "padded.nii", "sound", "hole")
    return {f"read_ct {name}": lambda name=name: read_ct(folder / name) for name in names}


def paths(side: int) -> dict[str, Work]:
    """Every path that takes a volume."""
    volume, limbs = knee(side), two_limbs(side)
    mu, pair = volume.attenuation(60), orbit(volume, [0, 90], [0, 5])
    labels = Volume((volume.values > 200).float(), volume.world_from_voxel)
    middle = tuple(volume.center.tolist())
    plate = Plate(middle, (0, 0, 1), (0, 1, 0)).implant()
    metal = plate(volume)
    return {
        "remove_table": lambda: remove_table(volume),
        "split_limbs": lambda: split_limbs(limbs),
        "inspect_ct": lambda: inspect_ct(limbs),
        "inspect_ct, metal": lambda: inspect_ct(metal),
        "resample": lambda: resample(volume, 256 / side * 1.1),
        "data.sample.prepare": lambda: prepare(volume),
        "hardware: plate": lambda: plate(volume),
        "hardware: ring": lambda: ring(middle, (0, 0, 1), 40)(volume),
        "hardware: cast": lambda: Cast()(volume),
        "attenuation": lambda: volume.attenuation(60),
        "project": lambda: project(mu, pair),
        "gradient of project": lambda: gradient(mu, pair),
        "render, plain": lambda: render(volume, pair),
        "render, pacs": lambda: render(volume, pair, look="pacs"),
        "render, film": lambda: render(volume, pair, look="film"),
        "render, film, metal": lambda: render(metal, pair, look="film"),
        "decompose": lambda: decompose(volume),
        "correspondence exact": lambda: correspondence(volume, pair),
        "correspondence exact, other weight": lambda: correspondence(
            volume, pair, weight=lambda hu: torch.sigmoid(0.01 * hu), itself=False
        ),
        "correspondence exact, plain product": lambda: correspondence(
            volume, pair, normalise=False, itself=False
        ),
        "correspondence paper": lambda: correspondence(volume, pair, definition="paper"),
        "correspondence_by_label": lambda: correspondence_by_label(volume, labels, pair),
        "pixel_correspondence": lambda: pixel_correspondence(volume, pair, 0, 1),
        "band": lambda: band(volume, pair, 0, (128, 128)),
    }  # fmt: skip


def measured(side: int, word: str) -> dict[str, tuple[float, float]]:
    """Peak beyond the given volume, and output, of each path, in volumes."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        works = readers(Path(folder), side) if word in "read_ct" or "read_ct" in word else {}
        for name, work in (works | paths(side)).items():
            if word in name:
                peak, result = peak_of(work)
                rows[name] = (peak / (4 * side**3), held_by(result) / (4 * side**3))
                del result
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 384])
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    measured(64, options.only)
    columns = [measured(side, options.only) for side in options.sides]
    print(
        "volumes beyond the given one",
        *(f"{side}^3: peak, output" for side in options.sides),
        sep=" | ",
    )
    for name in columns[0]:
        cells = [f"{rows[name][0]:.2f}, {rows[name][1]:.2f}" for rows in columns]
        over = any(peak > 1.05 + output for peak, output in (rows[name] for rows in columns))
        print(f"{name:36s}", *cells, "OVER" if over else "", sep=" | ")


if __name__ == "__main__":
    main()
