from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from crossray.training.sampler import StepSampler


def test_by_hand():
    assert list(StepSampler(3, 2)) == [[0, 1], [2, 3], [4, 5]]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_ranks_share_every_step(steps, each, ranks):
    shares = [
        list(StepSampler(steps, each * ranks, rank=rank, ranks=ranks)) for rank in range(ranks)
    ]
    whole = list(StepSampler(steps, each * ranks))
    assert [sorted(chain.from_iterable(parts)) for parts in zip(*shares, strict=True)] == whole
    assert all(len(part) == each for share in shares for part in share)


@given(st.integers(1, 20), st.integers(1, 5), st.data())
def test_starting_later_skips_what_was_done(steps, batch, data):
    start = data.draw(st.integers(0, steps))
    assert list(StepSampler(steps, batch, start)) == list(StepSampler(steps, batch))[start:]
