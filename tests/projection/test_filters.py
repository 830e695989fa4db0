import math

import pytest
import torch
from scipy.ndimage import gaussian_filter

from crossray.projection.filters import blurred


@pytest.mark.parametrize("size", [(40, 64), (64, 40), (1, 9)])
@pytest.mark.parametrize("sigma", [0.4, 2.0, 9.0])
def test_blur_against_scipy(size, sigma):
    image = torch.rand(size, generator=torch.Generator().manual_seed(0))
    radius = max(1, math.ceil(3 * sigma))
    reference = gaussian_filter(image.double().numpy(), sigma, mode="nearest", radius=radius)
    torch.testing.assert_close(
        blurred(image, sigma / max(size)).double(),
        torch.from_numpy(reference),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_flat_image_stays_and_no_width_blurs_nothing():
    torch.testing.assert_close(blurred(torch.full((5, 7), 0.3), 0.5), torch.full((5, 7), 0.3))
    image = torch.rand(6, 6)
    assert torch.equal(blurred(image, 0.0), image)
