import dataclasses
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from crossray.models.backbone import TrunkConfig
from crossray.models.matcher import (
    PRESETS,
    MatcherConfig,
    MatcherNetwork,
)
from crossray.models.storage import add_metadata, load_network, save_network

# Channels in eights, as in tests/training.
TRUNK = TrunkConfig(block="basic", stem=8, widths=(8, 8, 8), depths=(1, 1, 1))
HALF = MatcherConfig(
    trunk=TRUNK, image_size=(64, 96), input_stride=2, token_stride=2, width=16, layers=2, heads=2,
    hidden=16, descriptor=8, same_view=True, position=True,
)  # fmt: skip
GRAPH = dataclasses.replace(HALF, context="superglue")
MIRRORED = dataclasses.replace(HALF, mirrors=True)
LINEAR = dataclasses.replace(HALF, context="loftr", position=False)
FULL = MatcherConfig(
    trunk=TRUNK, image_size=(64, 96), width=16, layers=1, heads=2, hidden=16, head="scaled_cosine"
)


def network_of(config: MatcherConfig) -> MatcherNetwork:
    network = MatcherNetwork(config).eval()
    for name, weight in network.named_parameters():
        if name.endswith("same_view.weight"):
            torch.nn.init.normal_(weight)
    return network


@pytest.mark.parametrize("config", [HALF, FULL, GRAPH, LINEAR])
@pytest.mark.parametrize("views", [2, 3, 6])
def test_shape_range_and_symmetry(config, views):
    with torch.no_grad():
        matrix = network_of(config)(torch.rand(2, views, 64, 96))
    assert matrix.shape == (2, views, views, 24, 24)
    assert matrix.dtype == torch.float32
    assert 0 <= matrix.min() < matrix.max() <= 1
    assert torch.equal(matrix, matrix.permute(0, 2, 1, 4, 3))
    assert not matrix[:, range(views), range(views)].any()


@settings(max_examples=10)
@given(st.permutations(range(4)), st.sampled_from([HALF, FULL, GRAPH, LINEAR, MIRRORED]))
def test_permuting_views_permutes_the_matrix(order, config):
    torch.manual_seed(1)
    network, images = network_of(config), torch.rand(1, 4, 64, 96)
    with torch.no_grad():
        matrix, permuted = network(images), network(images[:, order])
    torch.testing.assert_close(permuted, matrix[:, order][:, :, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
def test_mirrored_films_have_the_mirrored_matrix(axes):
    network, images = network_of(MIRRORED), torch.rand(1, 2, 64, 96)
    seen = torch.ones(1, 2, 24).bool()
    seen[0, 1].view(4, 6)[:, :2] = False

    def turned(values):
        return values.unflatten(-1, (4, 6)).flip(axes).flatten(-2)

    with torch.no_grad():
        matrix = network(images, seen)
        turned_matrix = network(images.flip(axes), turned(seen))
        plain = network_of(HALF)
        plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(turned_matrix, turned(turned(matrix).mT).mT, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(matrix, plain(images, seen), atol=1e-3)


def test_training_looks_once():
    network, images = network_of(MIRRORED), torch.rand(1, 2, 64, 96)
    plain = network_of(HALF)
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(network.train().pairs(images), plain.train().pairs(images))


@pytest.mark.parametrize("config", [HALF, FULL, GRAPH, LINEAR])
def test_pairs_apart_are_studies_of_two_films(config):
    network, images = network_of(config), torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        apart, together = network.pairs_apart(images), network.pairs(images)
        each = [network.pairs(images[:, two])[:, 0] for two in ([0, 1], [0, 2], [1, 2])]
    torch.testing.assert_close(apart, torch.stack(each, 1), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(apart, together, atol=1e-4)


def test_the_code_of_position_starts_silent_and_is_kept(tmp_path):
    plain = network_of(dataclasses.replace(HALF, position=False))
    coded, images = network_of(HALF), torch.rand(1, 2, 64, 96)
    missing = coded.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == ["position"]
    with torch.no_grad():
        assert torch.equal(coded(images), plain(images))
        torch.nn.init.normal_(coded.position)
        save_network(tmp_path / "m.safetensors", coded, {})
        changed = load_network(tmp_path / "m.safetensors")[0](images)
        assert torch.equal(changed, coded(images))
        assert not torch.allclose(changed, plain(images))


@pytest.mark.parametrize("config", [HALF, FULL, GRAPH, LINEAR, MIRRORED])
def test_patches_that_are_not_seen_match_nothing(config):
    network, images = network_of(config), torch.rand(1, 2, 64, 96)
    seen = torch.ones(1, 2, 24).bool()
    seen[0, 1].view(4, 6)[:, :2] = False
    with torch.no_grad():
        matrix = network(images, seen)
    assert not matrix[0, 0, 1][:, ~seen[0, 1]].any()
    assert matrix[0, 0, 1][:, seen[0, 1]].all()


@pytest.mark.parametrize("config", [HALF, FULL, GRAPH, LINEAR])
def test_images_of_another_size_have_another_grid(config):
    with torch.no_grad():
        matrix = network_of(config)(torch.rand(1, 2, 96, 32))
    assert matrix.shape == (1, 2, 2, 12, 12)
    assert 0 <= matrix.min() < matrix.max() <= 1


def test_squared_cosine_of_descriptors():
    network, images = network_of(HALF), torch.rand(1, 2, 64, 96)
    with torch.no_grad():
        first, second = network.descriptors(images)[0]
        value = network(images)[0, 0, 1, 3, 7]
    assert first.shape == (24, 8)
    assert value.item() == pytest.approx((first[3] @ second[7]).item() ** 2, abs=1e-6)


@pytest.mark.parametrize("config", [HALF, GRAPH, LINEAR, dataclasses.replace(HALF, layers=0)])
def test_every_weight_learns(config):
    network = MatcherNetwork(config)
    network.pairs(torch.rand(2, 2, 64, 96)).square().mean().backward()
    lazy = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert lazy == []


def test_paper_has_the_published_form():
    config = MatcherConfig.preset("paper")
    network = MatcherNetwork(config)
    millions = sum(weight.numel() for weight in network.parameters()) / 1e6
    assert millions == pytest.approx(24, rel=0.1)
    assert (config.width, config.layers, config.heads, config.hidden) == (512, 8, 8, 1024)
    assert config.trunk.channels[-1] == 1024
    assert not config.same_view
    assert config.head == "squared_cosine"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_take_256_pixels_in_patches_of_16(name):
    config = MatcherConfig.preset(name)
    assert config.image_size == (256, 256)
    assert config.patches == (16, 16)
    assert MatcherConfig.from_json(config.to_json()) == config


def test_small_fits_its_file(tmp_path):
    save_network(
        tmp_path / "m.safetensors", MatcherNetwork(MatcherConfig.preset("small")), {}, half=True
    )
    assert (tmp_path / "m.safetensors").stat().st_size < 25e6


@pytest.mark.parametrize(
    "change",
    [
        {"head": "flat"},
        {"context": "gossip"},
        {"patch": 8},
        {"image_size": (64, 100)},
        {"token_stride": 4, "input_stride": 4},
        {"heads": 5},
        {"heads": 8},
        {"layers": -1},
        {"width": 0},
        {"heads": 0},
        {"hidden": 0},
        {"descriptor": 0},
        {"patch": -16, "token_stride": -2},
        {"context": "loftr", "width": 18},
        {"context": "superglue", "heads": 3},
    ],
)
def test_unfit_configuration_is_refused(change):
    with pytest.raises(ValueError, match=r"head|context|token|multiple|1 or more"):
        dataclasses.replace(HALF, **change)


@pytest.mark.parametrize(
    ("context", "heads"), [("superglue", 16), ("loftr", 8), ("transformer", 4)]
)
def test_the_narrowest_heads_that_fit(context, heads):
    network = network_of(dataclasses.replace(HALF, context=context, heads=heads))
    with torch.no_grad():
        assert network(torch.rand(1, 2, 64, 96)).isfinite().all()


@pytest.mark.parametrize(
    "text", ["", "3", "{}", '{"trunk": 3}', HALF.to_json()[:-1] + ', "nose": 1}']
)
def test_no_configuration_is_refused(text):
    with pytest.raises(ValueError, match="no matcher configuration"):
        MatcherConfig.from_json(text)


def test_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="'huge'; choose one of tiny, small, paper"):
        MatcherConfig.preset("huge")


@pytest.mark.parametrize(
    ("shape", "words"), [((1, 1, 64, 96), "2 to 16 views"), ((1, 2, 64, 80), "multiple of 32")]
)
def test_unfit_images_are_refused(shape, words):
    with pytest.raises(ValueError, match=words):
        network_of(HALF)(torch.rand(shape))


def test_a_view_of_which_nothing_is_seen_is_refused():
    seen = torch.ones(1, 2, 24).bool()
    seen[0, 1] = False
    with pytest.raises(ValueError, match="no patch is seen"):
        network_of(HALF)(torch.rand(1, 2, 64, 96), seen)


@pytest.mark.parametrize("half", [False, True])
def test_save_and_load(tmp_path, half):
    network, path = network_of(HALF), tmp_path / "matcher.safetensors"
    save_network(path, network, {"card": "phantoms"}, half=half)
    loaded, metadata = load_network(path)
    assert metadata == {"card": "phantoms"}
    assert loaded.config == HALF
    assert not loaded.training
    assert all(weight.dtype == torch.float32 for weight in loaded.parameters())
    images = torch.rand(1, 2, 64, 96)
    tolerance = 5e-3 if half else 0.0
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), network(images), rtol=0, atol=tolerance)
    assert [file.name for file in tmp_path.iterdir()] == ["matcher.safetensors"]


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "matcher.safetensors"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_network(path, network_of(HALF), {})
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"no weights file .*nothing\.safetensors"):
        load_network(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 100])
def test_no_safetensors_file(tmp_path, content):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.bin is no safetensors file"):
        load_network(path)


def test_a_pickle_is_never_loaded(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": 1}))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(ValueError, match=f"{name} is a pickle"):
            load_network(tmp_path / name)


def test_safetensors_of_something_else(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no crossray matcher"):
        load_network(tmp_path / "other.safetensors")


def test_weights_of_another_shape(tmp_path):
    path = tmp_path / "matcher.safetensors"
    network = network_of(HALF)
    network.config = dataclasses.replace(HALF, descriptor=16)
    save_network(path, network, {})
    with pytest.raises(ValueError, match=r"matcher\.safetensors holds weights of another shape"):
        load_network(path)


def test_words_are_added_and_tensors_stay(tmp_path):
    path, out = tmp_path / "m.safetensors", tmp_path / "n.safetensors"
    save_network(path, network_of(HALF), {"card": "phantoms", "scores": "old"}, half=True)
    add_metadata(path, out, {"scores": "new"})
    add_metadata(out, out, {"more": "words"})
    before, after = (load_network(each) for each in (path, out))
    assert after[1] == {"card": "phantoms", "scores": "new", "more": "words"}
    for name, value in before[0].state_dict().items():
        assert torch.equal(value, after[0].state_dict()[name])
    assert abs(out.stat().st_size - path.stat().st_size) < 200
    with pytest.raises(ValueError, match="no weights file"):
        add_metadata(tmp_path / "nothing.safetensors", out, {})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.safetensors", "n.safetensors"]
