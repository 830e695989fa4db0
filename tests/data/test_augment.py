"""New looks carry the truth along: what is seen together stays together."""

import numpy as np
import pytest
import torch

from crossray.data import augment as room
from crossray.data.augment import augment, cut_windows
from crossray.data.sample import SampleConfig
from crossray.geometry.views import ViewSampling

GRID, PATCH = 4, 4


def numbered(seed: int, views: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Views whose patches carry the numbers 1 to 16, shuffled, and the matrix that joins equal numbers."""
    rng = np.random.default_rng(seed)
    numbers = torch.from_numpy(np.stack([rng.permutation(GRID**2) + 1 for _ in range(views)]))
    matrix = (numbers[:, None, :, None] == numbers[None, :, None, :]).float()
    lines = numbers.float().reshape(views, GRID, GRID)
    lines = lines.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    return lines, matrix


def patches(images: torch.Tensor) -> torch.Tensor:
    side = images.shape[1] // GRID
    return images.reshape(len(images), GRID, side, GRID, side).mean((2, 4)).flatten(1)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that change nothing, so that an image still tells which patch came from where."""
    monkeypatch.setattr(room, "sample_appearance", lambda rng, look: lambda image: image)


@pytest.mark.usefixtures("plain")
def test_image_and_matrix_move_together():
    seen = set()
    for seed in range(100):
        lines, matrix = numbered(seed)
        sample = augment(lines, matrix, np.random.default_rng(seed))
        numbers = patches(sample["images"])
        expected = (numbers[:, None, :, None] == numbers[None, :, None, :]).float()
        assert torch.equal(sample["correspondence"], expected)
        seen.add(
            tuple(flip(image, line) for image, line in zip(sample["images"], lines, strict=True))
        )
    assert {flips[0][1] for flips in seen} == {flips[2][1] for flips in seen} == {True, False}
    assert len({tuple(left for _, left in flips) for flips in seen}) == 8, (
        "each view by its own chance"
    )
    assert {tuple(up for up, _ in flips) for flips in seen} == {(True,) * 3, (False,) * 3}


def flip(image: torch.Tensor, line: torch.Tensor) -> tuple[bool, bool]:
    """Whether an image is the line integrals turned upside down, and mirrored left to right."""
    for up in (False, True):
        for left in (False, True):
            if torch.equal(image, line.flip([0] * up + [1] * left)):
                return up, left
    raise AssertionError("no mirror image")


@pytest.mark.usefixtures("plain")
def test_how_often():
    lines, matrix = torch.arange(8.0).reshape(2, 2, 2), torch.zeros(2, 2, 4, 4)
    rng = np.random.default_rng(0)
    flips = []
    for _ in range(400):
        images = augment(lines, matrix, rng)["images"]
        flips.append([flip(image, line) for image, line in zip(images, lines, strict=True)])
    up, left = np.mean(flips, axis=(0, 1))
    assert up == pytest.approx(0.1, abs=0.04)
    assert left == pytest.approx(0.5, abs=0.06)


def test_with_real_looks_the_brightest_patch_is_the_one_that_matches():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        lines, matrix = torch.zeros(2, 64, 64), torch.zeros(2, 2, 16, 16)
        spots = rng.integers(GRID, size=(2, 2))
        for line, (row, column) in zip(lines, spots, strict=True):
            line[row * 16 + 4 : row * 16 + 12, column * 16 + 4 : column * 16 + 12] = 2
        one, other = spots @ (GRID, 1)
        matrix[0, 1, one, other] = matrix[1, 0, other, one] = 1
        sample = augment(lines, matrix, rng)
        bright = patches(sample["images"]).argmax(1).tolist()
        assert sample["correspondence"][0, 1].nonzero().tolist() == [bright]
        assert sample["correspondence"][1, 0].nonzero().tolist() == [bright[::-1]]


def test_the_generator_decides_everything():
    lines, matrix = numbered(0)
    before = lines.clone(), matrix.clone()
    one, again, other = (augment(lines, matrix, np.random.default_rng(s)) for s in (1, 1, 2))
    for name in ("images", "correspondence"):
        assert torch.equal(one[name], again[name])
    assert not torch.equal(one["images"], other["images"])
    assert torch.equal(lines, before[0])
    assert torch.equal(matrix, before[1])


def test_thin_line_integrals_are_enlarged_last():
    lines, matrix = numbered(3)
    one = augment(lines, matrix, np.random.default_rng(1))
    twice = augment(lines, matrix, np.random.default_rng(1), thin=2)
    assert twice["images"].shape == (3, 32, 32)
    assert torch.equal(twice["images"][:, ::2, ::2], one["images"])
    assert torch.equal(twice["images"][:, 1::2, 1::2], one["images"])
    assert torch.equal(twice["correspondence"], one["correspondence"])


def film(views: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Films of 6 x 7 patches that carry their numbers, and a matrix that tells both numbers of every pair."""
    numbers = torch.arange(6 * 7).repeat(views, 1) + 100 * torch.arange(views)[:, None]
    lines = (
        numbers.float().view(views, 6, 7).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    )
    return lines, (numbers[:, None, :, None] + 1000 * numbers[None, :, None, :]).float()


def test_windows_are_cut_with_their_truth():
    config = SampleConfig(views=ViewSampling(size=(8 * GRID, 8 * GRID)), patch=8, thin=2)
    lines, matrix = film()
    corners = set()
    for seed in range(200):
        shown, cut = cut_windows(lines, matrix, config, np.random.default_rng(seed))
        assert shown.shape == (3, PATCH * GRID, PATCH * GRID)
        numbers = patches(shown)
        assert torch.equal(cut, numbers[:, None, :, None] + 1000 * numbers[None, :, None, :])
        grid = numbers[0].view(GRID, GRID)
        assert torch.equal(
            grid - grid[0, 0],
            torch.tensor([[7.0 * i + j for j in range(GRID)] for i in range(GRID)]),
        )
        corners.add((int(numbers[0, 0]), int(numbers[1, 0]) - 100))
    assert {one for one, _ in corners} == {7 * i + j for i in range(3) for j in range(4)}
    assert len(corners) > 60  # of 144: the two windows know nothing of each other
