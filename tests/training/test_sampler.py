from hypothesis import given
from hypothesis import strategies as st

from crossray.training.sampler import StepSampler


def test_by_hand():
    assert list(StepSampler(3, 2)) == [[0, 1], [2, 3], [4, 5]]


@given(st.integers(1, 20), st.integers(1, 5), st.data())
def test_starting_later_skips_what_was_done(steps, batch, data):
    start = data.draw(st.integers(0, steps))
    assert list(StepSampler(steps, batch, start)) == list(StepSampler(steps, batch))[start:]
