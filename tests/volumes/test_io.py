"""CTs from and to disk: every format keeps the grid, and what is no CT is refused in a sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from crossray.errors import InputError
from crossray.volumes.io import list_cts, read_ct, write_volume
from crossray.volumes.volume import Volume

FORMATS = [".nii", ".nii.gz", ".nrrd", ".mha"]
HEADERS = [".nhdr", ".mhd"]


def oblique(values: torch.Tensor) -> Volume:
    """A volume with three different spacings, turned about two axes and shifted."""
    turn = torch.tensor([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]], dtype=torch.float64)
    tilt = torch.tensor([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]], dtype=torch.float64)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = turn @ tilt * torch.tensor([0.5, 0.75, 3.27], dtype=torch.float64)
    affine[:3, 3] = torch.tensor([10.5, -20.25, 400])
    return Volume(values, affine, "oblique")


def whole_hu() -> torch.Tensor:
    return torch.arange(-1024.0, -1024 + 3 * 4 * 5).reshape(3, 4, 5)


def refused(path: Path, *words: str, **options: str) -> None:
    """`read_ct` refuses a path in one line that names it and holds the words."""
    with pytest.raises(InputError) as error:
        read_ct(path, **options)
    message = str(error.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("shift", [0.0, 0.25], ids=["int16", "float32"])
def test_round_trip(tmp_path: Path, suffix: str, shift: float) -> None:
    before = oblique(whole_hu() + shift)
    path = tmp_path / f"leg{suffix}"
    write_volume(path, before)
    after = read_ct(path)
    assert torch.equal(after.values, before.values)
    # NIfTI keeps its affine in float32
    torch.testing.assert_close(after.world_from_voxel, before.world_from_voxel, atol=1e-4, rtol=0)
    assert after.name == path.name
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    stored = sitk.ReadImage(str(path)).GetPixelID()
    assert stored == (sitk.sitkFloat32 if shift else sitk.sitkInt16)


@pytest.mark.parametrize("suffix", HEADERS)
def test_reads_headers_with_data_beside(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(whole_hu().numpy().astype(np.int16))
    image.SetSpacing((0.5, 0.75, 3.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / f"leg{suffix}"))
    volume = read_ct(tmp_path / f"leg{suffix}")
    assert torch.equal(volume.values, whole_hu())
    assert volume.spacing == pytest.approx((0.5, 0.75, 3.0))
    assert volume.world_from_voxel[:3, 3].tolist() == [1, 2, 3]


def test_nifti_is_turned_from_ras_to_lps(tmp_path: Path) -> None:
    # The identity in LPS is stored as diag(-1, -1, 1) in NIfTI's RAS.
    write_volume(tmp_path / "a.nii", Volume(whole_hu(), torch.eye(4, dtype=torch.float64)))
    header = (tmp_path / "a.nii").read_bytes()[:348]
    rows = np.frombuffer(header, np.float32, count=12, offset=280).reshape(3, 4)
    assert rows.tolist() == [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0]]


def test_write_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "leg.nrrd"
    path.write_text("something else")
    write_volume(path, oblique(whole_hu()))
    assert torch.equal(read_ct(path).values, whole_hu())
    sheared = oblique(whole_hu())
    sheared.world_from_voxel[0, 1] += 0.5
    with pytest.raises(InputError, match="not at right angles"):
        write_volume(path, sheared)
    assert torch.equal(read_ct(path).values, whole_hu())
    assert [entry.name for entry in tmp_path.iterdir()] == ["leg.nrrd"]


def test_write_refuses_names_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.nii"):
        write_volume(tmp_path / "leg.png", oblique(whole_hu()))
    with pytest.raises(InputError, match="make it before"):
        write_volume(tmp_path / "missing" / "leg.nii", oblique(whole_hu()))


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "missing.nii.gz", "does not exist", ".nrrd")


@pytest.mark.parametrize("name", ["leg.nii.gz", "leg.nii", "leg.nrrd", "leg.mha", "leg.txt"])
def test_refuses_what_is_no_image(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("no image at all\n" * 100)
    refused(tmp_path / name, "cannot be read", "give .nii.gz")
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_refuses_part_of_a_file(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"leg{suffix}"
    write_volume(path, oblique(torch.randn(9, 30, 30)))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "again" if ".nii" in suffix else "cannot be read")


def test_refuses_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "leg.nii.gz"
    write_volume(path, oblique(torch.randn(9, 30, 30)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    refused(path, "damaged")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_nan(tmp_path: Path, suffix: str, kind: type, bad: float) -> None:
    values = np.zeros((3, 4, 5), kind)
    values[2, 3, 4] = bad
    path = tmp_path / f"leg{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    refused(path, "NaN")


@pytest.mark.parametrize(
    ("shape", "vector", "words"),
    [
        ((1, 4, 5), False, "single slice (5 x 4 x 1)"),
        ((4, 5), False, "single slice (5 x 4)"),
        ((2, 3, 4, 5), False, "4 axes (5 x 4 x 3 x 2)"),
        ((3, 4, 5, 3), True, "3 values per voxel"),
    ],
)
def test_refuses_other_shapes(
    tmp_path: Path, shape: tuple[int, ...], vector: bool, words: str
) -> None:
    image = sitk.GetImageFromArray(np.zeros(shape, np.int16), isVector=vector)
    sitk.WriteImage(image, str(tmp_path / "leg.nrrd"))
    refused(tmp_path / "leg.nrrd", words)


def test_refuses_a_choice_of_series_in_a_file(tmp_path: Path) -> None:
    write_volume(tmp_path / "leg.nii", oblique(whole_hu()))
    refused(tmp_path / "leg.nii", "leave it out", series="1.2.3")


# Collections


def test_list_without_an_index(tmp_path: Path, write_series: Callable[..., None]) -> None:
    write_volume(tmp_path / "b.nii.gz", oblique(whole_hu()))
    write_volume(tmp_path / "a.mha", oblique(whole_hu()))
    write_series(tmp_path / "c", range(2))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no CT")
    cts = list_cts(tmp_path)
    assert [(ct.path.name, ct.person, ct.split) for ct in cts] == [
        ("a.mha", "a", None),
        ("b.nii.gz", "b", None),
        ("c", "c", None),
    ]
    assert all(len(read_ct(ct.path).values) > 1 for ct in cts)


def test_list_with_an_index(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii", "unlisted.nii"):
        write_volume(tmp_path / name, oblique(whole_hu()))
    text = "\ufefffile,person,anatomy,split\nb.nii,P1,knee,val\na.nii,P1,,\n"
    (tmp_path / "index.csv").write_text(text, encoding="utf-8")
    first, second = list_cts(tmp_path)
    assert (first.path.name, first.person, first.split, first.anatomy) == (
        "b.nii",
        "P1",
        "val",
        "knee",
    )
    assert (second.path.name, second.split, second.anatomy) == ("a.nii", None, None)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("file,person\ngone.nii,P1\n", "such as gone.nii"),
        ("file,who\na.nii,P1\n", "lacks the column person"),
        ("file,person\n", "lacks any row"),
        ("", "lacks the column file and person"),
    ],
)
def test_list_refuses_an_index(tmp_path: Path, index: str, words: str) -> None:
    (tmp_path / "index.csv").write_text(index)
    with pytest.raises(InputError, match=words):
        list_cts(tmp_path)


def test_list_of_one_file_or_series(tmp_path: Path, write_series: Callable[..., None]) -> None:
    write_volume(tmp_path / "leg.nii.gz", oblique(whole_hu()))
    write_series(tmp_path / "ct", range(2))
    assert [(ct.path.name, ct.person) for ct in list_cts(tmp_path / "leg.nii.gz")] == [
        ("leg.nii.gz", "leg")
    ]
    assert [(ct.path.name, ct.person) for ct in list_cts(tmp_path / "ct")] == [("ct", "ct")]


def test_list_refuses_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no CT"):
        list_cts(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        list_cts(tmp_path / "missing")


def test_real_collection(shared: Path) -> None:
    cts = list_cts(shared / "data/ct")
    assert len(cts) == 44
    assert len({ct.person for ct in cts}) == 41
    assert len({ct.person for ct in cts if ct.split == "val"}) == 8
    first = next(ct for ct in cts if ct.person == "sts_001")
    volume = read_ct(first.path)
    assert tuple(volume.values.shape) == (59, 202, 198)
    assert volume.spacing == pytest.approx((0.977, 0.977, 3.27), abs=1e-3)
    assert -1024 <= float(volume.values.min()) < -900
    assert first.anatomy == "hip, proximal femur"
