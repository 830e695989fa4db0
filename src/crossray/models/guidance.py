"""Attention guidance: what matches between two views, added to the attention logits between their tokens.

A' = Q K^T / sqrt(d) + alpha C, with C from a matcher, on the blocks between different views alone, before the softmax;
alpha is learned, one a layer, and begins at 0, where nothing changes.

`guide` does this to other people's networks, whose code stays as it is: while such a network runs, the softmax of each
of its attention layers is met on its way into torch.

Source: Dabboussi et al., MICCAI 2025, section on attention guidance.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from inspect import signature
from math import isqrt
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from crossray.models.matcher import MatcherNetwork

_ATTENTION = functional.scaled_dot_product_attention
_MULTI_HEAD = signature(functional.multi_head_attention_forward)
_OPERANDS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
_SOFTMAX = (functional.softmax, torch.softmax, Tensor.softmax)


def between_tokens(
    correspondence: Float[Tensor, "batch view view patch patch"],
    patches: tuple[int, int],
    grid: tuple[int, int],
) -> Float[Tensor, "batch view token view token"]:
    """C between the tokens of different views; 0 within a view.

    A token that covers several patches takes the greatest value of theirs, as a patch does of its pixels.

    Args:
        correspondence: C between patches.
        patches: Their rows and columns.
        grid: Rows and columns of the tokens of a view.
    """
    matrix = correspondence
    if patches != grid:
        for _ in range(2):  # the patches of one view, then of the other
            cells = matrix.unflatten(-1, patches)
            pooled = functional.adaptive_max_pool2d(cells.flatten(0, 3), grid)
            matrix = pooled.flatten(1).unflatten(0, cells.shape[:4]).mT
    other = ~torch.eye(matrix.shape[1], dtype=torch.bool, device=matrix.device)
    return (matrix * other[:, :, None, None]).transpose(2, 3)


@torch.no_grad()
def guidance_of(
    matcher: MatcherNetwork | None,
    images: Float[Tensor, "batch view row column"],
    present: Bool[Tensor, "batch view"],
) -> Float[Tensor, "batch view view patch patch"] | None:
    """What a matcher says of the very images that a classifier sees; a missing view matches nothing.

    The films are matched as they hang, without the matcher's mirrors, at a quarter of the arithmetic.

    Args:
        matcher: In evaluation mode; None gives none.
        images: In [0, 1], bone bright.
        present: False for views that are missing.
    """
    if matcher is None or images.shape[1] < 2:
        return None
    both = present[:, :, None] & present[:, None, :]
    matrix = matcher.to(images.device)(images, mirrors=False)
    return matrix * both[..., None, None]


def guide(
    module: nn.Module,
    correspondence: Float[Tensor, "batch view view patch patch"] | None = None,
    *,
    patches: tuple[int, int] | None = None,
    grid: tuple[int, int] | None = None,
    before: int | None = None,
) -> "Guided":
    """Guide a vision transformer of timm, transformers or torch by what matches between views.

    The network must see all views in one sequence: after its class and register tokens the patches of the first view,
    row by row, then those of the next, as a network does that is shown the views one below the other as one tall
    image. Guided are all layers of attention of such a sequence to itself; others are left alone.

    Args:
        module: The network, or the part of it to guide (the encoder of a DETR).
        correspondence: C, as `Matches.correspondence` or a matcher gives it; one for all images of a batch, or one
            each. Another can be given with each call.
        patches: Rows and columns of C's patches; None: they form a square.
        grid: Rows and columns of the network's tokens of one view; None: those of C.
        before: Tokens before the first patch; None: all that the patches leave over stand there.

    Returns:
        A module called as the network is. Its `alpha` is learned beside the network's own weights.

    Raises:
        ValueError: The network has no layer of attention; when called: C has another form, or no layer has as many
            tokens as C and `grid` ask for.

    >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 2)
    >>> guided = guide(encoder, torch.rand(1, 2, 2, 4, 4))  # two views of 2 x 2 patches
    >>> guided(torch.rand(1, 8, 8)).shape, guided.alpha.tolist()
    (torch.Size([1, 8, 8]), [0.0, 0.0])
    """
    return Guided(module, correspondence, patches=patches, grid=grid, before=before)


class Guided(nn.Module):
    """A network guided by what matches between views; made by `guide`, whose arguments it takes.

    Attributes:
        module: The network, as it was.
        alpha: What C is multiplied by, one a layer of attention.
    """

    def __init__(
        self,
        module: nn.Module,
        correspondence: Float[Tensor, "batch view view patch patch"] | None = None,
        *,
        patches: tuple[int, int] | None = None,
        grid: tuple[int, int] | None = None,
        before: int | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.patches, self.grid, self.before = patches, grid, before
        self._layers = tuple(
            _attention_layers(module)
        )  # a tuple, so that they are not counted twice
        if not self._layers:
            raise ValueError(f"{type(module).__name__} has no layer of attention to guide.")
        device = next(module.parameters()).device
        self.alpha = nn.Parameter(torch.zeros(len(self._layers), device=device))
        self.register_buffer("correspondence", correspondence, persistent=False)
        self.correspondence: Tensor | None

    def forward(
        self,
        *inputs: Any,
        correspondence: Float[Tensor, "batch view view patch patch"] | None = None,
        **options: Any,
    ) -> Any:
        """What the network says under guidance by `correspondence`, by default the one it was made with.

        Everything else goes to the network. Without either, and where alpha is 0 and not learned, it runs as it is.
        """
        given = self.correspondence if correspondence is None else correspondence
        idle = not torch.is_grad_enabled() and not self.alpha.any()
        if given is None or idle:
            return self.module(*inputs, **options)
        biases = _Biases(self.alpha, self._between(given), self.before)
        with biases, ExitStack() as stack:
            for number, layer in enumerate(self._layers):
                entered = layer.register_forward_pre_hook(biases.enter(number))
                left = layer.register_forward_hook(biases.leave, always_call=True)
                stack.callback(entered.remove)
                stack.callback(left.remove)
            result = self.module(*inputs, **options)
        if not biases.added:
            tokens = biases.between.shape[1] * biases.between.shape[2]
            raise ValueError(
                f"No layer of {type(self.module).__name__} attends to a sequence of {tokens} patches of all views; "
                "show it the views one below the other, and give the `grid` of its tokens of one view."
            )
        return result

    def _between(self, correspondence: Tensor) -> Float[Tensor, "batch view token view token"]:
        count = correspondence.shape[-1]
        patches = self.patches or (isqrt(count), isqrt(count))
        if correspondence.ndim != 5 or patches[0] * patches[1] != count:
            raise ValueError(
                f"The correspondence has shape {tuple(correspondence.shape)}; (batch, view, view, patch, patch) with "
                f"{patches[0]} x {patches[1]} patches is needed: give the rows and columns as `patches`."
            )
        return between_tokens(
            correspondence.to(self.alpha.device, self.alpha.dtype), patches, self.grid or patches
        )


class _Biases(TorchFunctionMode):
    """While it is entered, logits of attention get their bias on their way into torch."""

    def __init__(
        self,
        alpha: Float[Tensor, " layer"],
        between: Float[Tensor, "batch view token view token"],
        before: int | None,
    ) -> None:
        super().__init__()
        self.alpha, self.between, self.before = alpha, between, before
        self.layer: int | None = None  # which one is at work
        self.added = 0

    def enter(self, number: int) -> Callable[..., None]:
        def entered(module: nn.Module, inputs: Any) -> None:
            self.layer = number

        return entered

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.layer = None

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self.layer is None:
            return func(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            return func(**self._masked(_MULTI_HEAD.bind(*args, **kwargs).arguments))
        if func is _ATTENTION:
            given = dict(zip(_OPERANDS, args, strict=False)) | kwargs
            batch, lengths = len(given["query"]), (given["query"].shape[-2], given["key"].shape[-2])
            bias = self._bias(batch, *lengths)
            if bias is not None:
                given["attn_mask"] = _joined(given.get("attn_mask"), bias.to(given["query"].dtype))
            return func(**given)
        if func in _SOFTMAX and args and args[0].ndim == 4:
            bias = self._bias(len(args[0]), *args[0].shape[-2:])
            args = args if bias is None else (args[0] + bias.to(args[0].dtype), *args[1:])
        return func(*args, **kwargs)

    def _masked(self, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of torch's own attention, (token, batch, channel) or (token, channel), with the bias as mask.

        Heads are folded into the batch.
        """
        query, heads = given["query"], given["num_heads"]
        batch = query.shape[1] if query.ndim == 3 else 1
        bias = self._bias(batch, len(query), len(given["key"]))
        if bias is None:
            return given
        folded = bias.to(query.dtype).expand(batch, heads, -1, -1).flatten(0, 1)
        return given | {"attn_mask": _joined(given.get("attn_mask"), folded), "is_causal": False}

    def _bias(
        self, batch: int, queries: int, keys: int
    ) -> Float[Tensor, "#batch 1 token token"] | None:
        """What is added for a sequence of this length attending to itself; None where it has too few tokens."""
        views, tokens = self.between.shape[1:3]
        over = queries - views * tokens - (self.before or 0)
        if queries != keys or over < 0 or self.layer is None:
            return None
        if len(self.between) not in (1, batch):
            raise ValueError(
                f"C is given for {len(self.between)} samples and the batch has {batch}; give one for each, or one."
            )
        self.added += 1
        before, after = (over, 0) if self.before is None else (self.before, over)
        flat = self.between.flatten(3, 4).flatten(1, 2)
        return (self.alpha[self.layer] * functional.pad(flat, (before, after, before, after)))[
            :, None
        ]


def _joined(mask: Tensor | None, bias: Tensor) -> Tensor:
    """A bias joined with the mask that a layer has already."""
    if mask is None:
        return bias
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=bias.dtype).masked_fill(~mask, -torch.inf)
    return mask + bias


def _attention_layers(module: nn.Module) -> Iterable[nn.Module]:
    """The innermost modules that are called attention, in their order."""
    for each in module.modules():
        inner = (part for part in each.modules() if part is not each)
        if _is_attention(each) and not any(map(_is_attention, inner)):
            yield each


def _is_attention(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "attention" in name or "attn" in name
