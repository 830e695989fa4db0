"""From films to matches with a tiny network, and every way to ask wrongly."""

import pickle
import time

import numpy as np
import pytest
import torch
from PIL import Image

from crossray.data.radiographs import read_radiograph
from crossray.errors import InputError
from crossray.matching import Matcher
from crossray.matching.matcher import weights_path


@pytest.fixture(scope="module")
def matcher(weights):
    return Matcher.load(weights)


def test_two_films(matcher, limb):
    matches = matcher.match([limb(200, 100), limb(180, 160)])
    assert matches.correspondence.shape == (2, 2, 256, 256)
    assert matches.correspondence.dtype == torch.float32
    assert 0 <= matches.correspondence.min() <= matches.correspondence.max() <= 1
    assert matches.image_size == ((200, 100), (180, 160))
    assert matches.names == ("view 0", "view 1")
    assert matches.weights == "tiny"


def test_swapping_views_transposes(matcher, limb):
    a, b = limb(200, 100), limb(180, 160, 0.4)
    forth = matcher.match([a, b]).correspondence
    back = matcher.match([b, a]).correspondence
    assert torch.allclose(forth[0, 1], back[1, 0], atol=1e-5)
    assert torch.allclose(forth[0, 1], forth[1, 0].T, atol=1e-5)


def test_nothing_matches_beside_the_film_or_within_a_view(matcher, limb):
    grain = 0.1 * torch.rand(
        256, 256, generator=torch.Generator().manual_seed(0)
    )  # no air is clipped
    matches = matcher.match([limb(256, 100) + grain[:, :100], limb(256, 256) + grain])
    boxes = matches.patch_box[0]
    beside = (boxes[:, 3] - boxes[:, 1]) < 1e-3
    assert 0 < beside.sum() < 256
    assert matches.correspondence[0, 1, beside].max() == 0
    assert matches.correspondence[1, 0][:, beside].max() == 0
    assert matches.correspondence[0, 1, ~beside].min() > 0
    assert matches.correspondence[[0, 1], [0, 1]].abs().max() == 0


def test_nothing_matches_where_a_film_is_bare(matcher, limb):
    film = 0.2 + 0.6 * torch.rand(256, 256, generator=torch.Generator().manual_seed(0))
    shut = film.clone()
    shut[:64], shut[:, 208:] = 1, 0  # a bright shutter above, a dark one at the right
    matrix = matcher.match([shut, film]).correspondence[0, 1].view(16, 16, 256)
    assert matrix[:4].max() == matrix[:, 13:].max() == 0
    assert matrix[4:, :13].min() > 0


def test_png_and_dicom_of_one_image_match_alike(matcher, shared, tmp_path):
    dicom = shared / "data/radiographs/dicom/RG3_RLE.dcm"
    film = read_radiograph(dicom)
    Image.fromarray((film.pixels.numpy() * 65535).round().astype(np.uint16)).save(
        tmp_path / "leg.png"
    )
    other = shared / "data/radiographs/dicom/RG3_J2KR.dcm"
    a = matcher.match([dicom, other]).correspondence
    b = matcher.match([tmp_path / "leg.png", other]).correspondence
    assert (a - b).abs().max() < 1e-3


def test_films_of_one_name_are_told_apart(matcher, limb, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        image = Image.fromarray((limb(64, 64) * 255).to(torch.uint8).numpy())
        image.save(tmp_path / folder / "film.png")
    matches = matcher.match([tmp_path / "a/film.png", tmp_path / "b/film.png"])
    assert matches.names == ("film (1)", "film (2)")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_or_too_many_views(matcher, limb, count):
    with pytest.raises(InputError, match=f"2 to 6 views of one limb and got {count}"):
        matcher.match([limb(64, 64)] * count)


def test_an_array_of_another_shape_is_refused(matcher, limb):
    with pytest.raises(InputError, match="View 1 has shape"):
        matcher.match([limb(64, 64), np.zeros((3, 64, 64))])


def test_weights_that_cannot_be_loaded(tmp_path):
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 100)
    for path in (
        tmp_path / "nowhere",
        tmp_path / "pickle.safetensors",
        tmp_path / "noise.safetensors",
    ):
        with pytest.raises(InputError, match=path.name) as caught:
            Matcher.load(path)
        assert "\n" not in str(caught.value)


def test_the_bundled_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    with pytest.raises(InputError, match=r"matcher-small\.safetensors are missing"):
        weights_path("small")


def test_real_studies_match_in_time(matcher, shared):
    folder = shared / "data/radiographs/commons"
    start = time.perf_counter()
    films = [folder / f"normal-ankle-{view}.jpg" for view in ("ap", "lateral", "mortise")]
    matches = matcher.match(films)
    assert matches.correspondence.shape == (3, 3, 256, 256)
    assert time.perf_counter() - start < 20  # a second when the machine is idle


def test_a_narrow_grid_fits_narrow_films(matcher, limb):
    matches = matcher.match([limb(400, 200), limb(300, 150)], grid=(16, 8))
    assert matches.correspondence.shape == (2, 2, 128, 128)
    assert matches.fields[0] == (0, 0, 400, 200)
    assert matches.patch_box[1, -1].tolist() == [281.25, 131.25, 300, 150]


def test_a_calibration_holds_for_its_grid(limb):
    small = Matcher.load("small")
    films = [limb(128, 128), limb(128, 128)]
    assert 0 <= small.match(films).related(0, 1) <= 1
    with pytest.raises(InputError, match="another grid than the trained one"):
        small.match(films, grid=(8, 8)).related(0, 1)


@pytest.mark.parametrize("grid", [(0, 16), (16, 7), (16, 66)])
def test_a_grid_that_does_not_fit(matcher, limb, grid):
    with pytest.raises(InputError, match="does not fit tiny"):
        matcher.match([limb(64, 64)] * 2, grid=grid)
