"""Encodings of DICOM: the same pixels out of each, and nothing that damaged or hostile files could do."""

import base64
import io
import struct
import tracemalloc

import numpy as np
import pydicom
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from crossray.data import decoding
from crossray.data.radiographs import read_radiograph
from crossray.errors import InputError

ENCODINGS = {"rle": RLELossless, "j2k": JPEG2000Lossless, "jls": JPEGLSLossless}

HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAAABDwEB/1AACAACAAAADP9SAAwAAgABAAUE"
    "BEAB/1wAEyCQmJigmJigmJigmJiYkJCY/2QAFwABT3BlbkpQSCBWZXIgMC4xNC4wLv+QAAoAAAAAAFQAAf+TwAAT"
    "AN/+BQd0AAAAwAAJYAAEoP4AB3QA/gGHdADAAAlgAATA7gDCdAD6+gBDVADAABPAABUgJPmgp0J1AG7XdcAQgey2"
    "AP/Z"
)
"""8 x 8 pixels, 0, 7, 14 and so on, by OpenJPH; nothing at hand writes this."""


def film() -> np.ndarray:
    """Something round with grain, 40 x 50."""
    down, right = np.mgrid[-20:20, -25:25]
    grain = np.random.default_rng(0).integers(0, 200, (40, 50))
    return (np.hypot(down, right) * 300 + grain).astype(np.uint16)


def dicom(syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A radiograph in an encoding."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    dataset.Rows, dataset.Columns = film().shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelData = film().tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax in ENCODINGS.values():
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def picture(form: str) -> bytes:
    """The film as PNG, TIFF or JPEG."""
    buffer = io.BytesIO()
    grey = film() if form != "jpeg" else (film() // 64).astype(np.uint8)
    Image.fromarray(grey).save(buffer, form)
    return buffer.getvalue()


SEEDS = {name: dicom(syntax) for name, syntax in ENCODINGS.items()}
SEEDS |= {form: picture(form) for form in ("png", "tiff", "jpeg")} | {"raw": dicom()}


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        read_radiograph(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_same_pixels_out_of_every_encoding(tmp_path, name):
    (tmp_path / "a.dcm").write_bytes(SEEDS[name])
    (tmp_path / "raw.dcm").write_bytes(SEEDS["raw"])
    a, raw = (read_radiograph(tmp_path / f"{which}.dcm").pixels for which in ("a", "raw"))
    assert torch.equal(a, raw)


def encapsulated(path, syntax: str, *streams: bytes, **fields) -> None:
    """The raw film's header about other streams."""
    dataset = pydicom.dcmread(io.BytesIO(SEEDS["raw"]))
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(list(streams))
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)


def test_jpeg_baseline(tmp_path):
    depth = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    encapsulated(tmp_path / "a.dcm", JPEGBaseline8Bit, SEEDS["jpeg"], **depth)
    (tmp_path / "a.jpeg").write_bytes(SEEDS["jpeg"])
    a, plain = (read_radiograph(tmp_path / f"a.{suffix}").pixels for suffix in ("dcm", "jpeg"))
    assert torch.equal(a, plain)


def test_high_throughput_jpeg_2000(tmp_path):
    encapsulated(tmp_path / "a.dcm", HTJ2KLossless, HTJ2K, Rows=8, Columns=8)
    pixels = read_radiograph(tmp_path / "a.dcm").pixels
    assert torch.allclose(pixels, torch.arange(64.0).view(8, 8) / 63)
    hostile = bytearray(HTJ2K)
    struct.pack_into(">II", hostile, 8, 60_000, 60_000)
    encapsulated(tmp_path / "a.dcm", HTJ2KLossless, bytes(hostile), Rows=8, Columns=8)
    assert "8 x 8 pixels and its image 60000 x 60000" in refusal(tmp_path / "a.dcm")


def test_several_frames_of_a_stream_are_refused(tmp_path):
    encapsulated(tmp_path / "a.dcm", HTJ2KLossless, *3 * [HTJ2K], Rows=8, Columns=8)
    assert "holds 3 frames" in refusal(tmp_path / "a.dcm")


def test_an_offset_table_leads_to_no_other_stream(tmp_path):
    """What is checked is what is decoded: the first, whatever the tables of offsets say."""
    dataset = pydicom.dcmread(io.BytesIO(SEEDS["raw"]))
    dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
    dataset.Rows = dataset.Columns = 8
    hostile = bytearray(HTJ2K)
    struct.pack_into(">II", hostile, 8, 60_000, 60_000)
    dataset.PixelData = encapsulate([HTJ2K, bytes(hostile)], has_bot=False)
    dataset["PixelData"].VR = "OB"
    at, length = 8 + len(HTJ2K) + len(HTJ2K) % 2, len(HTJ2K)
    dataset.ExtendedOffsetTable = struct.pack("<Q", at)
    dataset.ExtendedOffsetTableLengths = struct.pack("<Q", length)
    dataset.save_as(tmp_path / "a.dcm")
    pixels = read_radiograph(tmp_path / "a.dcm").pixels
    assert torch.allclose(pixels, torch.arange(64.0).view(8, 8) / 63)


@pytest.mark.parametrize(
    ("name", "marker", "offset", "form"),
    [("j2k", b"\xff\x4f\xff\x51", 8, ">II"), ("jls", b"\xff\xf7", 5, ">HH")],
)
def test_a_stream_that_asks_for_gigabytes_is_not_decoded(tmp_path, name, marker, offset, form):
    hostile = bytearray(SEEDS[name])
    struct.pack_into(form, hostile, hostile.index(marker) + offset, 60_000, 60_000)
    (tmp_path / "a.dcm").write_bytes(hostile)
    tracemalloc.start()
    try:
        assert "40 x 50 pixels and its image 60000 x 60000" in refusal(tmp_path / "a.dcm")
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def test_a_deflated_file_is_read_and_a_bomb_is_not(tmp_path, monkeypatch):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(DeflatedExplicitVRLittleEndian))
    (tmp_path / "raw.dcm").write_bytes(SEEDS["raw"])
    assert torch.equal(read_radiograph(path).pixels, read_radiograph(tmp_path / "raw.dcm").pixels)
    bomb = pydicom.dcmread(path)
    bomb.add_new(0x00091010, "OB", b"\0" * 100_000)
    bomb.save_as(path)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(decoding, "MAX_PIXELS", 30_000)
    assert "inflates to more than any radiograph" in refusal(path)
    whole = path.read_bytes()  # and one whose header never ends, and one without a preamble
    path.write_bytes(whole[:140] + struct.pack("<I", 2**31) + whole[144:])
    assert "inflates to more than any radiograph" in refusal(path)
    path.write_bytes(whole[132:])
    assert "inflates to more than any radiograph" in refusal(path)


@st.composite
def damages(draw):
    """A file's name, and its bytes changed, cut out, put in or filled in a few places."""
    name = draw(st.sampled_from(sorted(set(SEEDS) - {"jls"})))  # CharLS may take long to give up
    content = bytearray(SEEDS[name])
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 8))
        content[at : at + length] = draw(st.binary(max_size=8) | st.just(b"\xff\xff\xff\x7f"))
        if draw(st.integers(0, 7)) == 0:
            content = content[: at + 1]
    return name, bytes(content)


@given(damages())
def test_damaged_files_are_read_or_refused(tmp_path_factory, damaged):
    name, content = damaged
    path = (
        tmp_path_factory.mktemp("damaged")
        / f"film.{'dcm' if name in {*ENCODINGS, 'raw'} else name}"
    )
    path.write_bytes(content)
    try:
        pixels = read_radiograph(path).pixels
    except InputError:
        refusal(path)
    else:
        assert 0 == pixels.min() < pixels.max() == 1
