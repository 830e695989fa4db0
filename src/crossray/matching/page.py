"""The page: films and matches in one HTML file that works offline and asks nothing of any server."""

import base64
import hashlib
import io
import json
import re
from importlib import resources

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.matching.matches import Matches
from crossray.matching.preprocess import for_display

LONGEST_SIDE = 900
"""Films are embedded with at most this many pixels along their longer side."""


def page(matches: Matches, truth: Float[Tensor, "view view patch patch"] | None = None) -> str:
    """One self-contained HTML page: point at a film, and the bands light up in the others.

    The films are embedded as 8-bit PNG and the correspondence in steps of 1/255. The page may run its own script and
    nothing else: its content policy forbids every connection.

    Args:
        matches: What to show.
        truth: The true correspondence to switch to, where it is known.
    """
    template = (
        resources.files("crossray.matching").joinpath("page.html").read_text(encoding="utf-8")
    )
    script = re.search(r"<script>(.*?)</script>", template, re.DOTALL)
    digest = hashlib.sha256((script[1] if script else "").encode()).digest()
    policy = f"sha256-{base64.b64encode(digest).decode()}"
    data = json.dumps(_content(matches, truth), ensure_ascii=True).replace("<", "\\u003c")
    return template.replace("{{script}}", policy).replace("{{data}}", data)


def _content(matches: Matches, truth: Tensor | None) -> dict[str, object]:
    """Everything the page's script reads."""
    views = [
        {"name": name, "size": list(size), "field": list(field), "png": _png(image)}
        for name, size, field, image in zip(
            matches.names, matches.image_size, matches.fields, matches.images, strict=True
        )
    ]
    layers = {"predicted": _blocks(matches.correspondence)}
    if truth is not None:
        layers["truth"] = _blocks(truth)
    return {
        "weights": matches.weights,
        "grid": list(matches.grid),
        "views": views,
        "layers": layers,
    }


def _blocks(matrix: Float[Tensor, "view view patch patch"]) -> dict[str, str]:
    """Every block between two different views, as bytes of 1/255, row-major, in base64."""
    levels = (matrix.clamp(0, 1) * 255).round().to(torch.uint8)
    views = range(len(matrix))
    return {
        f"{k}-{other}": _base64(levels[k, other].numpy().tobytes())
        for k in views
        for other in views
        if k != other
    }


def _png(image: Float[Tensor, "row column"]) -> str:
    """A film as 8-bit PNG in base64, no longer than `LONGEST_SIDE`."""
    from PIL import Image

    grey = (for_display(image, LONGEST_SIDE) * 255).round().to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(grey.numpy()).save(file, "PNG")
    return _base64(file.getvalue())


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
