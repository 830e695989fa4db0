"""The classifier: where views meet, missing views, guidance, and a matcher's weights in it."""

from dataclasses import replace

import pytest
import torch

from crossray.models.backbone import TrunkConfig, grey_stem
from crossray.models.classifier import (
    FUSIONS,
    PRESETS,
    ClassifierConfig,
    ClassifierNetwork,
    carry_over,
)
from crossray.models.matcher import MatcherConfig, MatcherNetwork
from crossray.models.storage import load_network, save_network

TINY = ClassifierConfig.preset("tiny")
PLAIN = replace(TINY, layers=0, fusion="single", position=False)


@pytest.fixture(params=[*FUSIONS, "cnn"])
def network(request):
    config = PLAIN if request.param == "cnn" else replace(TINY, fusion=request.param)
    return awake(config)


def awake(config):
    """A network that attends as strongly as a trained one, not as weakly as at the start."""
    network = ClassifierNetwork(config).eval()
    for name, weight in network.named_parameters():
        if not name.startswith("trunk") and name != "alpha":
            torch.nn.init.normal_(weight, std=0.2)
    return network


def test_views_in_any_order_and_number(network):
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(network(images[:, [2, 0, 1]]), network(images))
    assert network(images[:, :1]).shape == (2,)
    assert network(torch.rand(1, 2, 96, 64)).shape == (1,)


def test_a_missing_view_counts_for_nothing(network):
    images, present = torch.rand(2, 3, 64, 64), torch.tensor([[True, True, False]] * 2)
    torch.testing.assert_close(network(images, present), network(images[:, :2]))
    other = images.clone()
    other[:, 2] = 0.5
    torch.testing.assert_close(network(other, present), network(images, present))


def test_where_views_meet():
    images = torch.rand(2, 2, 64, 64)
    single = awake(replace(TINY, fusion="single"))
    late = ClassifierNetwork(replace(TINY, fusion="late")).eval()
    early = ClassifierNetwork(TINY).eval()
    for other in (late, early):
        other.load_state_dict(single.state_dict())
    each = single.view_logits(single.tokens(images))
    torch.testing.assert_close(single(images).sigmoid(), each.sigmoid().mean(1))
    torch.testing.assert_close(late(images), each.mean(1))
    assert not torch.allclose(early(images), late(images))
    torch.testing.assert_close(early(images[:, :1]), late(images[:, :1]))


def test_guidance_begins_at_nothing_and_learns():
    guided, plain = awake(replace(TINY, guidance=True)), ClassifierNetwork(TINY).eval()
    left = plain.load_state_dict(guided.state_dict(), strict=False)
    assert left.unexpected_keys == ["alpha"]
    images, matrix = torch.rand(2, 2, 64, 64), torch.rand(2, 2, 2, 16, 16)
    told = guided(images, None, matrix)
    torch.testing.assert_close(told, plain(images), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(guided(images), plain(images))
    told.sum().backward()
    assert guided.alpha.grad.abs().min() > 0
    guided.alpha.data.fill_(3.0)
    assert (guided(images, None, matrix) - told).abs().min() > 1e-6


def test_guidance_lies_between_views_alone():
    guided = awake(replace(TINY, guidance=True))
    guided.alpha.data.fill_(3.0)
    matrix = torch.zeros(1, 2, 2, 16, 16)
    matrix[0, 0, 0], matrix[0, 1, 1] = 1.0, 1.0
    images = torch.rand(1, 2, 64, 64)
    torch.testing.assert_close(guided(images, None, matrix), guided(images))


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_a_matchers_weights_fit(name):
    matcher = MatcherNetwork(MatcherConfig.preset(name))
    for weight in matcher.parameters():
        torch.nn.init.normal_(weight)
    classifier = ClassifierNetwork(ClassifierConfig.preset(name))
    fresh = {key: value.clone() for key, value in classifier.state_dict().items()}
    carried = carry_over(classifier, matcher.state_dict())
    own = {"class_token", "head.weight", "head.bias"} | ({"position"} if name == "tiny" else set())
    assert set(fresh) - set(carried) == own
    now = classifier.state_dict()
    assert all(torch.equal(now[key], matcher.state_dict()[key]) for key in carried)
    assert all(torch.equal(now[key], fresh[key]) for key in own)


def test_a_colour_trunk_fits():
    classifier = ClassifierNetwork(TINY)
    colour = {f"trunk.{key}": value for key, value in published(TINY.trunk).items()}
    carried = carry_over(classifier, colour)
    assert len(carried) == len(classifier.trunk.state_dict())


def published(trunk: TrunkConfig):
    """Weights as of a ResNet for photographs, with a stem of three colours and layers behind ours."""
    from crossray.models.backbone import ResidualTrunk

    weights = ResidualTrunk(trunk).state_dict()
    weights["conv1.weight"] = weights["conv1.weight"].repeat(1, 3, 1, 1)
    return grey_stem(
        weights | {"layer4.0.conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}
    )


def test_the_published_form():
    config = ClassifierConfig.preset("paper")
    assert (config.layers, config.heads, config.width, config.tokens) == (6, 4, 384, (16, 16))
    assert config.trunk.channels[2] == 1024


@pytest.mark.parametrize("name", PRESETS)
def test_forms_are_kept(name):
    config = ClassifierConfig.preset(name)
    assert ClassifierConfig.from_json(config.to_json()) == config


def test_save_and_load(tmp_path, network):
    images = torch.rand(1, 2, 64, 64)
    save_network(tmp_path / "it.safetensors", network, {"data": "none"})
    again, words = load_network(tmp_path / "it.safetensors", ClassifierNetwork)
    assert words == {"data": "none"}
    assert torch.equal(again(images), network(images))
    with pytest.raises(ValueError, match="holds no crossray matcher"):
        load_network(tmp_path / "it.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fusion": "middle"}, "must be one of single, late, early"),
        ({"image_size": (60, 64)}, "no multiple of a token's 32 pixels"),
        ({"layers": 0}, "choose single or late"),
        ({"fusion": "late", "guidance": True}, "with fusion 'late' they do not"),
    ],
)
def test_what_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY, **change)
    with pytest.raises(ValueError, match="no classifier 'huge'"):
        ClassifierConfig.preset("huge")
