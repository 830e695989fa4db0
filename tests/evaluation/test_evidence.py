"""What supports what across views."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.evaluation.evidence import strongest_links


def test_the_strongest_first_and_only_what_gains():
    gain = torch.zeros(2, 3, 2, 3)
    gain[0, 1, 1, 2], gain[1, 2, 0, 1] = 0.5, 0.25  # either direction of one pair
    gain[0, 0, 1, 0], gain[0, 1, 0, 2], gain[0, 2, 1, 1] = 0.6, 9.0, -1.0
    first, second = strongest_links(gain)
    assert (first.view, first.token, first.other, first.other_token) == (0, 1, 1, 2)
    assert (first.strength, second.strength) == (0.75, torch.tensor(0.6).item())


@given(st.integers(2, 4), st.integers(0, 99))
def test_no_patch_stands_in_two_links(views, seed):
    generator = torch.Generator().manual_seed(seed)
    links = strongest_links(torch.rand(views, 4, views, 4, generator=generator))
    ends = [
        end for link in links for end in ((link.view, link.token), (link.other, link.other_token))
    ]
    assert len(ends) == len(set(ends)) > 0
