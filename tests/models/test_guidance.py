"""Guidance: the formula, what it leaves alone, and other people's networks for three tasks."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

import crossray as cr
from crossray.models.guidance import between_tokens, guide

VIEWS, SIDE = 2, 2
PATCHES = SIDE * SIDE
IMAGE = (2 * 16 * SIDE, 16 * SIDE)  # two views, one below the other, in patches of 16 pixels
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def correspondence(batch=1, patches=PATCHES):
    matrix = torch.rand(batch, VIEWS, VIEWS, patches, patches)
    return (matrix + matrix.transpose(1, 2).mT) / 2


def test_a_token_takes_the_greatest_of_its_patches_and_views_leave_themselves_alone():
    matrix = torch.zeros(1, 2, 2, 16, 16)
    matrix[0, 0, 1, 5, 10] = 0.7  # patch (1, 1) of the first view, (2, 2) of the second
    matrix[0, 0, 0] = 1.0
    between = between_tokens(matrix, (4, 4), (2, 2))
    assert between.nonzero().tolist() == [[0, 0, 0, 1, 3]]
    assert between[0, 0, 0, 1, 3] == pytest.approx(0.7)
    same = between_tokens(matrix, (4, 4), (4, 4))
    assert same.nonzero().tolist() == [[0, 0, 5, 1, 10]]


class Plain(nn.Module):
    """One head of attention, written out."""

    def __init__(self, kind):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.kind = kind

    def forward(self, tokens):
        query, key, value = (each(tokens)[:, None] for each in (self.query, self.key, self.value))
        if self.kind == "fused":
            return functional.scaled_dot_product_attention(query, key, value)[:, 0]
        logits = query @ key.mT / 8**0.5
        return (logits.softmax(-1) @ value)[:, 0]


class Attention(Plain):
    """Called what it is, so that it is found."""


@pytest.mark.parametrize("kind", ["fused", "plain"])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_formula(kind, batch):
    layer, tokens, matrix = Attention(kind), torch.rand(3, 10, 8), correspondence(batch)
    guided = guide(layer, matrix)
    guided.alpha.data.fill_(1.5)
    bias = torch.zeros(batch, 10, 10)
    bias[:, 2:6, 6:] = 1.5 * matrix[:, 0, 1]  # two tokens stand before the patches
    bias[:, 6:, 2:6] = 1.5 * matrix[:, 1, 0]
    query, key, value = (each(tokens) for each in (layer.query, layer.key, layer.value))
    expected = torch.softmax(query @ key.mT / 8**0.5 + bias, -1) @ value
    torch.testing.assert_close(guided(tokens), expected)


def test_tokens_behind_the_patches_get_no_bias():
    layer, tokens, matrix = Attention("plain"), torch.rand(1, 11, 8), correspondence()
    guided = guide(layer, matrix, before=1)
    guided.alpha.data.fill_(3.0)
    plain, told = layer(tokens), guided(tokens)
    assert torch.equal(told[:, [0, 9, 10]], plain[:, [0, 9, 10]])
    assert (told - plain)[:, 1:9].abs().amin(-1).min() > 0


def test_without_a_batch():
    layer, tokens, matrix = (
        nn.MultiheadAttention(8, 2, batch_first=True),
        torch.rand(8, 8),
        correspondence(),
    )
    guided = guide(layer, matrix)
    guided.alpha.data.fill_(2.0)
    alone, _ = guided(tokens, tokens, tokens, need_weights=False)
    batch, _ = guided(*(3 * [tokens[None]]), need_weights=False)
    torch.testing.assert_close(alone, batch[0])
    assert not torch.allclose(alone, layer(tokens, tokens, tokens)[0])


def test_alpha_lies_beside_the_network():
    assert guide(nn.MultiheadAttention(8, 2, device="meta"), correspondence()).alpha.is_meta


def torch_encoder(**_):
    layer = nn.TransformerEncoderLayer(16, 2, 16, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.rand(2, 9, 16)


def classification(implementation="sdpa"):
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(**SMALL, image_size=IMAGE, patch_size=16, attn_implementation=implementation)
    return ViTForImageClassification(config), torch.rand(2, 3, *IMAGE)


def segmentation(implementation="sdpa"):
    from transformers import DPTConfig, DPTForSemanticSegmentation

    config = DPTConfig(
        **SMALL | {"num_hidden_layers": 4}, image_size=IMAGE[0], patch_size=16, num_labels=3,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, readout_type="ignore", use_auxiliary_head=False,
        attn_implementation=implementation,
    )  # fmt: skip
    return DPTForSemanticSegmentation(config), torch.rand(2, 3, IMAGE[0], IMAGE[0])


def detection(implementation="sdpa"):
    from transformers import YolosConfig, YolosForObjectDetection

    config = YolosConfig(
        **SMALL, image_size=IMAGE, patch_size=16, num_detection_tokens=5, num_labels=2,
        attn_implementation=implementation,
    )  # fmt: skip
    return YolosForObjectDetection(config), torch.rand(2, 3, *IMAGE)


TASKS = {
    "torch": (torch_encoder, {}),
    "classification": (classification, {"before": 1}),
    "segmentation": (segmentation, {"before": 1, "grid": (2, 4)}),  # views of 32 x 64 pixels
    "detection": (detection, {"before": 1}),
}


def first_output(result):
    return result if isinstance(result, torch.Tensor) else result.logits


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", TASKS)
def test_networks_of_others(name, implementation):
    if name != "torch":
        pytest.importorskip("transformers", reason="transformers is a tool of development")
    make, options = TASKS[name]
    network, given = make(implementation=implementation)
    network, given = network.double().eval(), given.double()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.5)
    guided = guide(network, correspondence(), **options)
    plain = first_output(network(given))
    torch.testing.assert_close(first_output(guided(given)), plain, atol=1e-5, rtol=1e-5)
    with torch.no_grad():  # at alpha = 0 nothing at all changes
        assert torch.equal(first_output(guided(given)), first_output(network(given)))
    guided.alpha.data[0] = 4.0
    told = first_output(guided(given))
    assert not torch.allclose(told, plain, atol=1e-4)
    other = first_output(guided(given, correspondence=correspondence(2)))
    assert not torch.allclose(other, told, atol=1e-5)
    told.square().sum().backward()
    # where class or detection tokens are read, the last layer's patches are not
    assert guided.alpha.grad[:-1].abs().min() > 0
    assert (guided.alpha.grad[-1] != 0) == (name in ("torch", "segmentation"))
    with torch.no_grad():  # torch's fast path does not bypass it
        torch.testing.assert_close(first_output(guided(given)), told.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first_output(network(given)), plain)  # by itself it is as it was


TIMM = """
import importlib.machinery, sys, types
class Anything(type):
    def __getattr__(self, name):
        return Anything(name, (), {})
class Pictures:
    '''timm imports torchvision to read pictures, which no network needs and which breaks beside a CPU's torch.'''
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'torchvision':
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__file__ = spec.name
        module.__getattr__ = lambda name: Anything(name, (), {})
        return module
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Pictures())
import timm, torch
from crossray import guide
torch.manual_seed(0)
for fused in (True, False):
    network = timm.create_model(
        'vit_tiny_patch16_224', img_size=(64, 32), num_classes=1, depth=2, reg_tokens=4).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    for block in network.blocks:
        block.attn.fused_attn = fused
    matrix, images = torch.rand(1, 2, 2, 4, 4), torch.rand(2, 3, 64, 32)
    guided = guide(network, matrix)
    with torch.no_grad():
        assert torch.equal(guided(images), network(images))
    guided.alpha.data.fill_(3.0)
    told = guided(images)
    assert not torch.allclose(told, network(images), atol=1e-4)
    told.sum().backward()
    assert guided.alpha.shape == (2,) and guided.alpha.grad[0].abs() > 0
print('guided')
"""


def test_a_network_of_timm():
    from importlib.util import find_spec

    if find_spec("timm") is None:
        pytest.skip("timm is not here; pip install --no-deps timm brings it without torchvision")
    done = subprocess.run([sys.executable, "-c", TIMM], capture_output=True, text=True)
    assert done.stdout.split() == ["guided"], done.stderr[-2000:]


def test_what_is_refused():
    with pytest.raises(ValueError, match="no layer of attention"):
        guide(nn.Linear(2, 2))
    layer, tokens = Attention("plain"), torch.rand(2, 9, 8)
    with pytest.raises(ValueError, match="give the rows and columns as `patches`"):
        guide(layer, torch.rand(1, 2, 2, 6, 6))(tokens)
    with pytest.raises(ValueError, match="a sequence of 18 patches"):
        guide(layer, torch.rand(1, 2, 2, 9, 9))(tokens)
    with pytest.raises(ValueError, match="C is given for 3 samples and the batch has 2"):
        guide(layer, correspondence(3))(tokens)
    assert torch.equal(guide(layer)(tokens), layer(tokens))


def test_it_is_a_public_name():
    assert cr.guide is guide
