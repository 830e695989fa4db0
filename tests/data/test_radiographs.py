"""Reading films: every encoding, every orientation of grey, and every way a file can be bad."""

import csv
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from crossray.data import radiographs
from crossray.data.radiographs import Radiograph, read_radiograph
from crossray.errors import InputError

RAMP = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


def write_dicom(path: Path, pixels: np.ndarray, **fields: object) -> Path:
    """A small uncompressed DICOM radiograph."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelData = pixels.astype("<u2").tobytes()
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def refusal(path: Path) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(InputError) as caught:
        read_radiograph(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_an_8_bit_png_is_stretched_to_the_whole_range(tmp_path):
    Image.fromarray(np.array([[10, 20], [30, 50]], dtype=np.uint8)).save(tmp_path / "a.png")
    film = read_radiograph(tmp_path / "a.png")
    assert film.pixels.dtype == torch.float32
    assert torch.allclose(film.pixels, torch.tensor([[0.0, 0.25], [0.5, 1.0]]))
    assert (film.name, film.pixel_mm, film.pixel_mm_kind) == ("a", None, "unknown")
    assert (film.view, film.laterality) == (None, None)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bits_are_kept(tmp_path, suffix):
    Image.fromarray(RAMP).save(tmp_path / f"a.{suffix}")
    film = read_radiograph(tmp_path / f"a.{suffix}")
    assert len(film.pixels.unique()) == RAMP.size
    assert torch.allclose(film.pixels, torch.from_numpy(RAMP / RAMP.max()).float())


def test_colour_becomes_grey(tmp_path):
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[0], colour[1], colour[2] = (255, 0, 0), (0, 255, 0), (255, 255, 255)
    Image.fromarray(colour).save(tmp_path / "c.png")
    rows = read_radiograph(tmp_path / "c.png").pixels[:, 0]
    assert torch.allclose(rows, torch.tensor([0.299, 0.587, 1.0, 0.0]), atol=3e-3)


def test_a_photographs_orientation_is_obeyed(tmp_path):
    image = Image.fromarray((RAMP // 8).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    film = read_radiograph(tmp_path / "turned.jpg")
    assert film.pixels.shape == (50, 40)
    assert film.pixels[0, -1] < film.pixels[0, 0]


def test_monochrome1_is_inverted_last(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    plain = read_radiograph(write_dicom(tmp_path / "b.dcm", RAMP))
    assert torch.allclose(read_radiograph(path).pixels, 1 - plain.pixels, atol=1e-6)


def test_the_window_clips_before_the_inversion(tmp_path):
    window = {"WindowCenter": 1000, "WindowWidth": 500}
    plain = read_radiograph(write_dicom(tmp_path / "a.dcm", RAMP, **window)).pixels.flatten()
    assert plain[:740].max() == 0
    assert plain[1260:].min() == 1
    assert plain[1000] == pytest.approx(0.5, abs=2e-3)


def test_a_window_beside_the_image_is_ignored(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=30000, WindowWidth=10)
    assert len(read_radiograph(path).pixels.unique()) == RAMP.size


def test_padding_becomes_background(tmp_path):
    pixels = RAMP + 100
    pixels[:, :5] = 65535
    path = write_dicom(tmp_path / "a.dcm", pixels, PixelPaddingValue=65535)
    film = read_radiograph(path)
    assert film.pixels[:, :5].max() == 0
    assert film.pixels[-1, -1] == 1


def test_what_the_header_says_of_the_view(tmp_path):
    fields = {"ViewPosition": "LL", "ImageLaterality": "L", "ImagerPixelSpacing": [0.1, 0.2]}
    film = read_radiograph(write_dicom(tmp_path / "knee", RAMP, **fields))  # no suffix: by content
    assert (film.view, film.laterality, film.name) == ("LL", "L", "knee")
    assert (film.pixel_mm, film.pixel_mm_kind) == ((0.1, 0.2), "detector")
    assert "40 x 50 pixels, 0.1 x 0.2 mm (detector)" in repr(film)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (None, "unknown")),
        ({"PixelSpacing": [0.1, 0.1]}, ((0.1, 0.1), "unknown")),
        ({"PixelSpacing": [0.1, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"}, ((0.1, 0.1), "corrected")),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.12, 0.12]}, ((0.1, 0.1), "corrected")),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.1, 0.1]}, ((0.1, 0.1), "detector")),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, ((0.1, 0.1), "detector")),
        ({"ImagerPixelSpacing": [0.0, 0.0]}, (None, "unknown")),
    ],
)  # fmt: skip
def test_where_the_pixel_size_holds(tmp_path, fields, expected):
    film = read_radiograph(write_dicom(tmp_path / "a.dcm", RAMP, **fields))
    assert (film.pixel_mm, film.pixel_mm_kind) == expected


@given(gain=st.integers(1, 30), offset=st.integers(0, 3000))
def test_gain_and_offset_do_not_matter(tmp_path_factory, gain, offset):
    folder = tmp_path_factory.mktemp("films")
    Image.fromarray(RAMP).save(folder / "a.png")
    Image.fromarray((RAMP * gain + offset).astype(np.uint16)).save(folder / "b.png")
    a, b = read_radiograph(folder / "a.png"), read_radiograph(folder / "b.png")
    assert torch.allclose(a.pixels, b.pixels, atol=1e-6)


def test_missing_folder_empty_and_text(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "text.dcm").write_text("no image")
    assert "does not exist" in refusal(tmp_path / "nowhere.png")
    assert "is a folder" in refusal(tmp_path)
    assert "is empty" in refusal(tmp_path / "empty.png")
    assert "is not an image" in refusal(tmp_path / "text.png")
    assert "no DICOM image" in refusal(tmp_path / "text.dcm")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "dcm"])
def test_files_cut_short(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    write_dicom(path, noise) if suffix == "dcm" else Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cut short" in refusal(path)


def test_one_grey_is_refused(tmp_path):
    Image.new("L", (64, 64), 17).save(tmp_path / "blank.png")
    assert "is blank (every pixel has the value 17)" in refusal(tmp_path / "blank.png")
    assert "is blank" in refusal(write_dicom(tmp_path / "blank.dcm", np.full((9, 9), 3)))


def test_not_a_number_is_refused(tmp_path):
    values = np.ones((8, 8), np.float32)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "nan.tiff")
    assert "NaN" in refusal(tmp_path / "nan.tiff")


def test_several_frames_are_refused(tmp_path):
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 100, 200)]
    frames[0].save(tmp_path / "stack.tiff", save_all=True, append_images=frames[1:])
    assert "3 frames" in refusal(tmp_path / "stack.tiff")
    assert "2 frames" in refusal(write_dicom(tmp_path / "cine.dcm", RAMP, NumberOfFrames=2))


def test_more_pixels_than_one_frame_are_refused(tmp_path):
    for frames, fields in ((4, {}), (2, {"NumberOfFrames": 1})):
        content = RAMP.astype("<u2").tobytes() * frames
        path = write_dicom(tmp_path / "a.dcm", RAMP, PixelData=content, **fields)
        assert "several frames" in refusal(path)
    cube = RAMP[:3, :3]  # three frames that look like three colours
    content = cube.astype("<u2").tobytes() * 3
    assert "several frames" in refusal(write_dicom(tmp_path / "b.dcm", cube, PixelData=content))


def test_a_palette_is_refused(tmp_path):
    fields = {"PhotometricInterpretation": "PALETTE COLOR"}
    assert "by a palette" in refusal(write_dicom(tmp_path / "a.dcm", RAMP, **fields))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_tiff_whose_white_is_zero_is_turned_over(tmp_path, depth):
    values = (RAMP // 8).astype(depth)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    plain = read_radiograph(tmp_path / "a.tiff").pixels
    entry = struct.pack("<HHI", 262, 3, 1)
    content = (tmp_path / "a.tiff").read_bytes()
    assert entry + b"\1" in content
    (tmp_path / "a.tiff").write_bytes(content.replace(entry + b"\1", entry + b"\0"))
    assert torch.allclose(read_radiograph(tmp_path / "a.tiff").pixels, 1 - plain, atol=1e-6)


@pytest.mark.parametrize("form", ["EPS", "GIF", "BMP"])
def test_other_pictures_are_refused_whatever_their_name(tmp_path, form):
    Image.fromarray((RAMP // 8).astype(np.uint8)).save(tmp_path / "film.png", form)
    assert "is not an image" in refusal(tmp_path / "film.png")


def test_a_large_tile_is_refused_before_it_is_decoded(tmp_path):
    """A TIFF of 64 x 64 pixels, deflated, in one tile."""
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 322: 32768, 323: 65000, 324: 200, 325: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<IH", 8, len(tags))
    (tmp_path / "a.tiff").write_bytes((header + entries).ljust(200, b"\0") + zlib.compress(b"\0"))
    assert "32768 x 65000" in refusal(tmp_path / "a.tiff")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    for name, size in {"large.png": (12_000, 9_000), "huge.png": (60_000, 60_000)}.items():
        header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
        chunk = b"IHDR" + header
        png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
        png += struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT" + b"\0" * 64
        (tmp_path / name).write_bytes(png)
        assert "100 megapixels" in refusal(tmp_path / name)


def test_a_large_dicom_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(radiographs, "MAX_PIXELS", 1999)
    assert "50 x 40" in refusal(write_dicom(tmp_path / "a.dcm", RAMP))


def test_an_encoding_without_decoder_is_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP)
    raw = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.51"[:20])
    raw = raw.replace(b"1.2.840.10008.1.2.4.", b"1.2.840.10008.1.2.5\0")  # RLE without fragments
    path.write_bytes(raw)
    assert "RLE Lossless" in refusal(path)


def test_every_real_dicom_is_read_or_refused(shared):
    """The index of the folder says which two cannot be decoded; all others are films with content."""
    folder = shared / "data/radiographs/dicom"
    with (folder / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = folder / row["file"]
        if "FAIL" in row["decode"]:
            assert "JPEG Extended" in refusal(path)
            continue
        film = read_radiograph(path)
        assert film.pixels.shape == (int(row["rows"]), int(row["cols"]))
        assert film.view == (row["view"] or None)
        assert film.laterality == (row["laterality"] or None)
        assert 0.05 < film.pixels.mean() < 0.95


def test_one_leg_in_five_encodings(shared):
    folder = shared / "data/radiographs/dicom"
    names = ("RG3_RLE", "RG3_JPLL", "RG3_J2KR", "RG3_J2KI", "RG3_JLSN")
    films = {name: read_radiograph(folder / f"{name}.dcm").pixels for name in names}
    for name in names[1:3]:
        assert torch.equal(films[name], films["RG3_RLE"])
    for name in names[3:]:
        assert (films[name] - films["RG3_RLE"]).abs().max() < 12 / 1023
    leg = films["RG3_RLE"]
    assert leg[400, 850] > leg[400, 560] + 0.2  # the shaft of the tibia is brighter than air


def test_a_radiograph_is_told_in_one_line():
    film = Radiograph(torch.zeros(3, 4), name="knee")
    assert repr(film) == "Radiograph(knee: 3 x 4 pixels, size in mm unknown (unknown))"
