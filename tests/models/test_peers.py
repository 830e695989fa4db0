"""LoFTR and DINOv2 behind the matcher's face, with random weights: the same loading code, no hub."""

import pytest
import torch

from crossray.models.peers import DINOv2Peer, LoFTRPeer

pytest.importorskip("kornia", reason="the extra baselines is not installed")
pytest.importorskip("transformers", reason="the extra baselines is not installed")


@pytest.fixture(scope="module")
def images():
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def seeded(kind, **options):
    torch.manual_seed(0)
    return kind(None, **options).eval()


@pytest.mark.parametrize(
    ("kind", "options"),
    [(LoFTRPeer, {}), (LoFTRPeer, {"many": True}), (DINOv2Peer, {}), (DINOv2Peer, {"head": True})],
)
@torch.inference_mode()
def test_one_matrix_of_every_two_views(images, kind, options):
    network = seeded(kind, **options)
    matrix = network(images)
    assert matrix.shape == (1, 3, 3, 24, 24)
    assert 0 <= matrix.min() < matrix.max() <= 1
    assert torch.equal(matrix[:, 1, 1], torch.zeros(1, 24, 24))
    assert torch.equal(matrix[:, 2, 0], matrix[:, 0, 2].mT)
    pair = network.pairs(images[:, [0, 2]])
    assert torch.allclose(matrix[:, 0, 2], pair[:, 0], atol=1e-5)


@torch.inference_mode()
def test_loftr_scores_as_kornia_does(images):
    """Where kornia's own forward finds matches, the patch of each holds at least its confidence."""
    network = seeded(LoFTRPeer)
    network.loftr.coarse_matching.thr = 0.0
    network.loftr.coarse_matching.border_rm = 0
    first, second = images[:, :1], images[:, 1:2]
    found = network.loftr({"image0": first, "image1": second})
    assert len(found["confidence"]) > 0
    matrix = network(images[:, :2])[0, 0, 1]
    cells = found["keypoints0"].round().long() // 16
    rows = cells[:, 1] * 6 + cells[:, 0]
    best = matrix[rows].amax(1)
    assert (best >= found["confidence"] - 1e-5).all()
    assert torch.allclose(matrix.max(), found["confidence"].max(), atol=1e-5)


def test_only_the_head_of_dinov2_learns(images):
    network = seeded(DINOv2Peer, head=True).train()
    assert not network.trunk.training
    network.pairs(images).sum().backward()
    learns = {
        name.split(".")[0] for name, weight in network.named_parameters() if weight.grad is not None
    }
    assert learns == {"head"}


def test_patches_of_dinov2_are_ours():
    """Its trunk sees 14 pixels where a patch has 16, so a change in one patch changes that patch's token most."""
    network = seeded(DINOv2Peer)
    seen = []
    network.trunk.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    network.pairs(torch.rand(1, 2, 64, 96))
    assert seen == [(2, 3, 56, 84)]
