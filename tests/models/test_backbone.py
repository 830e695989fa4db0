import pytest
import torch

from crossray.models.backbone import BasicBlock, Bottleneck, ResidualTrunk, TrunkConfig, grey_stem

BASIC = TrunkConfig(block="basic", stem=8, widths=(8, 12, 16), depths=(1, 2, 1))
RESNET50 = TrunkConfig(block="bottleneck", stem=64, widths=(64, 128, 256), depths=(3, 4, 6))


def test_strides_and_channels():
    fine, coarse = ResidualTrunk(BASIC)(torch.rand(2, 1, 64, 96))
    assert fine.shape == (2, 12, 8, 12)
    assert coarse.shape == (2, 16, 4, 6)


def test_resnet50_has_the_published_channels_and_size():
    trunk = ResidualTrunk(RESNET50)
    assert RESNET50.channels == (256, 512, 1024)
    # ResNet-50 has 25,557,032 weights; without layer4, the classifier, and two of three colours of the stem:
    expected = 25_557_032 - 14_964_736 - 2_049_000 - 2 * 64 * 49
    assert sum(weight.numel() for weight in trunk.parameters()) == expected


def test_parameter_names_are_those_of_timm():
    names = set(ResidualTrunk(RESNET50).state_dict())
    published = {
        "conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.bias", "layer2.3.bn3.weight", "layer3.5.conv3.weight",
    }  # fmt: skip
    assert published <= names
    assert not any(name.startswith(("layer4", "fc")) for name in names)


def test_colour_weights_see_a_grey_image_as_they_did():
    trunk = ResidualTrunk(BASIC).eval()
    colour = dict(trunk.state_dict()) | {
        "conv1.weight": torch.randn(8, 3, 7, 7),
        "fc.bias": torch.zeros(3),
    }
    trunk.load_state_dict(grey_stem(colour))
    grey = torch.rand(1, 1, 32, 32)
    seen = torch.conv2d(grey.expand(1, 3, 32, 32), colour["conv1.weight"], stride=2, padding=3)
    torch.testing.assert_close(trunk.conv1(grey), seen, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_gradient_of_a_block(block):
    inside = 4 * block.expansion
    layer = block(inside, 4).double().eval()
    assert layer.downsample is None
    x = torch.randn(1, inside, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)


@pytest.mark.parametrize(
    ("change", "words"), [({"block": "round"}, "round"), ({"widths": (1, 2)}, "three layers")]
)
def test_unfit_form_is_refused(change, words):
    form = {"block": "basic", "stem": 8, "widths": (8, 8, 8), "depths": (1, 1, 1)} | change
    with pytest.raises(ValueError, match=words):
        TrunkConfig(**form)
