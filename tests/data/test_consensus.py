"""The mean answer over windows: what it keeps of a matcher, and what training samples make of it."""

import numpy as np
import torch

from crossray.data.consensus import CELLS, Consensus, SelfTaught, consensus

SIZE, PATCH, SIDE = 64, 8, 8
PATCHES = torch.arange(SIDE * SIDE)


def films() -> tuple[torch.Tensor, torch.Tensor]:
    """Films whose brightness is the row: both show the same at the same row."""
    film = torch.linspace(0, 1, 200)[:, None].expand(200, 200)
    return film, film


def same_height(images: torch.Tensor) -> torch.Tensor:
    rows = PATCHES // SIDE
    return (rows[:, None] == rows).float().expand(len(images), 2, 2, -1, -1)


def spread(agreed: Consensus) -> float:
    """Mean distance in rows between a place and what it matches."""
    rows = torch.arange(CELLS**2) // CELLS
    weights = agreed.mean * agreed.known
    return float((weights * (rows[:, None] - rows).abs()).sum() / weights.sum())


def test_a_constant_answer_is_kept():
    agreed = consensus(
        lambda images: torch.full((1, 2, 2, 64, 64), 0.3), films(), SIZE, np.random.default_rng(0)
    )
    assert torch.allclose(agreed.mean[agreed.known], torch.tensor(0.3))
    assert 0.3 < agreed.known.float().mean() < 1


def test_what_lies_beside_a_narrow_film_is_unknown():
    """A film of 400 x 150 pixels fills 12 of 32 columns; windows show some beside it too."""
    narrow = torch.rand(400, 150)
    agreed = consensus(
        lambda images: torch.full((1, 2, 2, 64, 64), 0.3),
        (narrow, narrow),
        SIZE,
        np.random.default_rng(0),
    )
    for other in (0, 1):
        columns = agreed.known.any(other).view(CELLS, CELLS).any(0)
        assert columns.nonzero()[:, 0].tolist() == list(range(10, 22))


def test_the_height_in_the_window_blurs():
    """On films that are alike both answers are right in whole films; only one is in windows."""
    blurred = consensus(same_height, films(), SIZE, np.random.default_rng(0), draws=30)
    middle = blurred.mean.view(CELLS, CELLS, CELLS, CELLS)[CELLS // 2, CELLS // 2].mean(1)
    assert middle.max() < 0.5  # windows agree on no row
    assert spread(blurred) > 2
    still = torch.full((CELLS**2, CELLS**2), 0.5)
    assert spread(Consensus(films(), still, still > 0)) > spread(blurred)


def test_samples_carry_what_was_agreed():
    """A row of one film agrees with the same row of the other: patches of a sample match where their rows meet."""
    rows = torch.arange(CELLS**2) // CELLS
    level = (rows[:, None] == rows).float()
    taught = SelfTaught([Consensus(films(), level, torch.ones_like(level) > 0)], SIZE, PATCH)
    for index in range(5):
        sample = taught[index]
        truth, known = sample["correspondence"], sample["known"]
        assert torch.equal(truth[0, 1], truth[1, 0].T)
        assert not known[0, 0].any()
        assert known[0, 1].all()
        assert all(torch.equal(sample[name], taught[index][name]) for name in sample)
        block = truth[0, 1].view(SIDE, SIDE, SIDE, SIDE)
        assert torch.equal(block, block[:, :1, :, :1].expand_as(block))  # rows alone decide
        assert truth[0, 1].sum() > 0


def test_what_no_window_showed_together_is_unknown():
    nothing = torch.zeros(CELLS**2, CELLS**2)
    taught = SelfTaught([Consensus(films(), nothing + 1, nothing > 0)], SIZE, PATCH)
    assert not taught[0]["known"].any()
    assert not taught[0]["correspondence"].any()
