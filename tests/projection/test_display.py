"""What an archive does to a picture, step by step: exact where it changes nothing, by hand where it does."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.projection.appearance import Appearance, sample_appearance
from crossray.projection.burnin import Mark, Shutter, sample_marks, sample_shutter
from crossray.projection.display import Curve, Detail, Display, Texture, sample_display
from crossray.projection.filters import stretch

RAMP = torch.linspace(0, 1, 101)[None].repeat(2, 1)


def noise(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def test_the_default_display_only_stretches():
    signal = noise(70, 50)
    torch.testing.assert_close(Display()(signal), stretch(signal), atol=1e-5, rtol=0)


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(0, 100))
def test_bands_of_gain_one_add_up_to_the_signal(size, seed):
    signal = noise(*size, seed=seed)
    torch.testing.assert_close(Detail()(signal), signal, atol=1e-6, rtol=0)


def test_gains_act_on_their_octave():
    board = torch.tensor([1.0, -1.0]).repeat(32)
    board = board[:, None] * board  # all of it in the finest band
    fine, coarse = ([g if i == band else 1.0 for i in range(4)] for band, g in ((0, 3.0), (3, 3.0)))
    inner = slice(8, -8)
    out = Detail(tuple(fine))(board)[inner, inner]
    torch.testing.assert_close(out, 3 * board[inner, inner], atol=1e-3, rtol=0)
    out = Detail(tuple(coarse))(board)[inner, inner]
    torch.testing.assert_close(out, board[inner, inner], atol=1e-3, rtol=0)


def test_latitude_shrinks_what_is_below_all_bands():
    halves = torch.zeros(64, 64)
    halves[:, 32:] = 2
    out = Detail(latitude=0.25, gains=(1.0, 1.0))(halves)
    assert float(out[5, 60] - out[5, 3]) == pytest.approx(0.5, abs=1e-4)
    assert float(out[5, 32] - out[5, 31]) > 1.5 * float(out[5, 60] - out[5, 3])  # the edge stays


def test_a_power_below_one_lifts_faint_detail_most():
    board = torch.tensor([1.0, -1.0]).repeat(32)
    board = board[:, None] * board * torch.tensor([0.02, 1.0]).repeat_interleave(32)
    out = Detail((1.0,), power=0.5)(board)
    ratio = (out / board)[8:-8]
    strong = float(ratio[:, 40:56].mean())
    faint = float(ratio[:, 8:24].mean())
    scale = float(board.std(correction=0)) / 2

    def gain(x: float) -> float:
        return (((x / scale) ** 2 + 0.01) / 1.01) ** -0.25

    assert strong == pytest.approx(gain(1), rel=0.02)
    assert faint == pytest.approx(gain(0.02), rel=0.02)
    assert faint > 2 * strong


def test_curve_by_hand():
    assert torch.equal(Curve()(RAMP), RAMP)
    window = Curve(low=0.2, high=0.7)(RAMP)[0]
    assert window[[0, 20, 45, 70, 100]].tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-5)
    logarithm = Curve(bend=3.0)(RAMP)[0]
    assert float(logarithm[100 // 3]) == pytest.approx(math.log(1.99) / math.log(4), abs=1e-4)
    sigmoid = Curve(slope=2.0)(RAMP)[0]
    assert float(sigmoid[25]) == pytest.approx(0.5 - 0.5 * math.tanh(0.5) / math.tanh(1), abs=1e-5)


@settings(max_examples=30)
@given(st.floats(0, 0.3), st.floats(0.6, 1.2), st.floats(-0.9, 5), st.floats(0, 5), st.floats(0, 1))
def test_curves_never_fall(low, high, bend, slope, middle):
    image = Curve(low, high, bend, slope, middle)(RAMP)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert float(image.diff(dim=1).min()) >= -1e-6


def test_texture_has_its_strength_in_bone_and_beside_it():
    signal = torch.ones(256, 256)
    signal[:, 110:140] = 3  # a bone of 2 on flesh of 1
    added = Texture(trabeculae=0.05, grain=0.01, seed=3)(signal) - signal
    deviation = float(signal.std(correction=0))
    assert float(added[:, :80].std()) == pytest.approx(0.01 * deviation, rel=0.05)
    in_bone = 0.05 * 2 + 0.01 * deviation
    assert float(added[:, 115:135].std()) == pytest.approx(in_bone, rel=0.05)
    along = Texture(grain=0.01, width=0.4, length=3.0)(signal) - signal
    rows, columns = along.diff(dim=0).std(), along.diff(dim=1).std()
    assert float(rows) < 0.4 * float(columns)
    across = Texture(grain=0.01, width=0.4, length=3.0, turn=90)(signal) - signal
    assert float(across.diff(dim=1).std()) < 0.4 * float(across.diff(dim=0).std())
    assert torch.equal(Texture()(signal), signal)


def test_shutter_by_hand():
    white = torch.full((100, 100), 0.5)
    framed = Shutter(edges=(0.3, 0.4, 0.2, 0.45))(white)
    # Inside lie rows -30 to 40 and columns -20 to 45 about the middle at 49.5.
    assert framed[:, 50].gt(0.01).nonzero().flatten()[[0, -1]].tolist() == [20, 89]
    assert framed[50].gt(0.01).nonzero().flatten()[[0, -1]].tolist() == [30, 94]
    torch.testing.assert_close(framed[20:90, 30:95], white[20:90, 30:95])
    assert float(framed.sum()) == pytest.approx(0.5 * 70 * 65)
    rim = Shutter(edges=(0.3,) * 4, rim=0.1, rim_level=0.9, penumbra=1e-4)(white)
    assert float(rim.sum()) == pytest.approx(0.5 * 40**2 + 0.9 * (60**2 - 40**2))
    turned = Shutter(edges=(0.3,) * 4, turn=45)(white)
    assert float(turned.sum()) == pytest.approx(0.5 * 60**2, rel=0.01)
    assert float(turned[50, 9]) == 0.5  # a corner of the square, 0.42 from the middle
    torch.testing.assert_close(Shutter(edges=(0.8,) * 4)(white), white)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.booleans())
def test_a_mark_stays_within_its_box(seed, low):
    image = noise(120, 90, seed=seed)
    mark = Mark("L", (0.9, 0.05) if low else (0.05, 0.9), 0.1, seed % 360, plate=0.1, outline=True)
    before = image.clone()
    changed = mark(image) != image
    assert torch.equal(image, before)
    rows, columns = (changed.any(dim).nonzero().flatten() for dim in (1, 0))
    assert len(rows)
    assert int(rows[-1] - rows[0]) < 40
    assert int(columns[-1] - columns[0]) < 40
    assert (int(rows[0]) > 60) == low
    assert (int(columns[0]) > 45) != low


def test_a_mark_is_as_high_and_bright_as_it_says():
    image = torch.full((200, 200), 0.2)
    drawn = Mark("L", (0.5, 0.5), 0.15, level=0.9)(image)
    rows = (drawn > 0.5).any(1).nonzero().flatten()
    assert int(rows[-1] - rows[0] + 1) == pytest.approx(30, abs=2)
    assert float(drawn.max()) == pytest.approx(0.9)
    mirrored = Mark("L", (0.5, 0.5), 0.15, mirrored=True, level=0.9)(image)
    assert float(mirrored.sum()) == pytest.approx(float(drawn.sum()), rel=1e-5)
    assert not torch.equal(mirrored, drawn)
    plate = Mark("L", (0.5, 0.5), 0.15, plate=0.25)(image)
    assert float(plate[plate < 0.9].max()) >= 0.4 - 1e-6
    assert torch.equal(Mark(height=0.02)(image), image)  # too small to read


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.sampled_from([(1, 1), (5, 9), (33, 20), (64, 64)]),
    st.sampled_from([0.0, 3.0, 20.0]),
)
def test_every_drawn_look_stays_in_range(seed, size, thickest):
    lines = noise(*size, seed=seed % 1000) * thickest  # flat where it is 0
    look = sample_appearance(np.random.default_rng(seed), inverted=0.5, look="pacs")
    image = look(lines)
    assert image.shape == size
    assert image.dtype == torch.float32
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert torch.equal(image, look(lines))


def test_looks_are_drawn_from_the_generator_alone():
    one, again, other = (sample_display(np.random.default_rng(s)) for s in (1, 1, 2))
    assert one == again != other
    rng = np.random.default_rng(0)
    frames, marks = zip(
        *((sample_shutter(rng), sample_marks(rng)) for _ in range(300)), strict=True
    )
    assert sum(frame is None for frame in frames) / 300 == pytest.approx(0.5, abs=0.1)
    assert sum(map(len, marks)) / 300 == pytest.approx(0.4 + 2 * 0.15, abs=0.12)


def test_a_pacs_look_draws_a_plain_one_first():
    plain, pacs = (sample_appearance(np.random.default_rng(4), look=x) for x in ("plain", "pacs"))
    assert plain.display is None
    assert (plain.exposure, plain.seed) == (pacs.exposure, pacs.seed)
    assert plain == sample_appearance(np.random.default_rng(4))


def test_the_plain_look_is_what_it_was():
    # Computed by the version before there were displays.
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(40.0), indexing="ij")
    lines = 2 + torch.sin(x / 5) + 0.5 * torch.cos(y / 3)
    assert float(Appearance()(lines).double().sum()) == pytest.approx(680.54325, abs=1e-3)
    look = sample_appearance(np.random.default_rng(11))
    assert float(look(lines).double().sum()) == pytest.approx(498.97253, abs=1e-3)
