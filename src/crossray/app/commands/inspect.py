"""`crossray inspect`: what a CT shows, and what the other commands will do with it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossray.evaluation.figures import COLOURS
from crossray.matching.files import all_or_none
from crossray.volumes.inspection import Box, Inspected, Inspection, Range, inspect_ct
from crossray.volumes.io import read_ct

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAPER, _INK, _COUCH, _METAL = "#0b0e13", "#f2f4f8", "#ff5c5c", "#35c8ff"
_AXES = {"L": "left", "R": "right", "P": "back", "A": "front", "S": "head", "I": "feet"}
_MM = "{:.0f} x {:.0f} x {:.0f} mm"


def inspect(ct: Path, series: str | None, out: Path | None) -> None:
    """Print what a CT shows; with a folder, write it as inspect.json and as a picture too."""
    seen = inspect_ct(read_ct(ct, series))
    for line in report(seen.facts):
        print(line)
    if out is not None:
        with all_or_none(out) as partial:
            text = json.dumps(asdict(seen.facts), indent=2)
            (partial / "inspect.json").write_text(text + "\n")
            _draw(seen, partial / "inspect.png")
        print(f"  {out / 'inspect.png'}\n  {out / 'inspect.json'}")


def report(facts: Inspection) -> Iterator[str]:
    """What a CT shows, a line a fact."""
    code, tilt = facts.axes
    tilted = f", {tilt:.1f} degrees off" if tilt >= 0.1 else ""
    yield f"{facts.name}"
    yield f"  voxels       {' x '.join(map(str, facts.shape))} of " + (
        " x ".join(f"{step:.3g}" for step in facts.spacing_mm) + " mm (x, y, z)"
    )
    yield f"  field        {_MM.format(*facts.field_mm)}"
    yield f"  orientation  {code}: axes run to {', '.join(_AXES[letter] for letter in code)}{tilted}"
    yield "  values       {:.0f} to {:.0f} HU (99.8 % of the voxels)".format(*facts.hu)
    yield f"  body         {_MM.format(*facts.body_mm)}"
    yield f"  couch        {f'{facts.couch_cm3:.0f} cm3 beside the body' if facts.couch_cm3 else 'none'}"
    pieces = "; ".join(
        "{:.2f} cm3 at ({:.0f}, {:.0f}, {:.0f}) mm LPS".format(piece.volume_cm3, *piece.position_mm)
        for piece in facts.metal[:3]
    )
    yield f"  metal        {f'{len(facts.metal)} piece(s), the largest {pieces}' if pieces else 'none'}"
    cut = ", ".join(f"{side} ({share:.0%} of the face)" for side, share in facts.cut.items())
    yield f"  cut          {cut or 'nowhere'}"
    for number, limb in enumerate(facts.limbs, 1):
        side = (
            "side unknown"
            if limb.side == "unknown"
            else f"{limb.side} by the file's orientation, not proven"
        )
        yield (
            f"  limb {number}       likely {limb.likely}"
            if limb.likely != "unknown"
            else f"  limb {number}       unknown"
        )
        yield f"               {side}; {_MM.format(*limb.size_mm)}, {limb.volume_cm3:.0f} cm3"
        yield f"               {limb.evidence}"
    yield "What will be done:"
    yield from (f"  {line}" for line in _plan(facts))


def _plan(facts: Inspection) -> Iterator[str]:
    yield from facts.notes
    if facts.couch_cm3:
        yield "What lies beside the body becomes air (couch, cushions, cables)."
    if len(facts.limbs) > 1:
        yield f"Training can take the {len(facts.limbs)} limbs apart (data.split_limbs=true)."
    if facts.metal:
        yield "Metal stays as it is; streaks about it are not mended."
    if facts.cut:
        yield "Cut ends towards head and feet fade out in training; a body cut at its sides is drawn less often."
    yield "It is cropped to the body; orientation and spacing stay."


def _draw(seen: Inspected, path: Path) -> None:
    """Mean projections from the front and from the left, with everything that was found."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width_x, width_y, height = seen.facts.field_mm
    scale = 5.2 / height
    widths = [max(1.6, width_x * scale), max(1.6, width_y * scale)]
    figure = Figure(figsize=(sum(widths) + 0.7, 6.3), facecolor=_PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    front, left = figure.subplots(1, 2, width_ratios=widths)
    _panel(front, seen, axis=1, title="from the front", ends=("R", "L"))
    _panel(left, seen, axis=2, title="from the left", ends=("A", "P"))
    facts = seen.facts
    named = ", ".join(f"{n} {limb.likely}" for n, limb in enumerate(facts.limbs, 1))
    couch = "couch red, " if facts.couch_cm3 else ""
    metal = "metal blue, " if facts.metal else ""
    figure.suptitle(f"{facts.name}: {named}", color=_INK, fontsize=10)
    figure.supxlabel(f"body dashed, {couch}{metal}limbs in colour; mm", color=_INK, fontsize=8)
    figure.savefig(path, dpi=110, facecolor=_PAPER)


def _panel(panel: "Axes", seen: Inspected, axis: int, title: str, ends: tuple[str, str]) -> None:
    across = 2 if axis == 1 else 1
    steps = seen.volume.spacing[::-1]
    extent = (
        0.0,
        seen.volume.values.shape[across] * steps[across],
        0.0,
        len(seen.volume.values) * steps[0],
    )
    panel.imshow(_picture(seen, axis), origin="lower", extent=extent)
    if seen.facts.metal:
        panel.imshow(_tint(seen.metal.any(dim=axis), _METAL, 0.9), origin="lower", extent=extent)
    _frame(panel, seen.facts.body, across, steps, _INK, "--")
    for number, limb in enumerate(seen.facts.limbs):
        colour = COLOURS[number % len(COLOURS)]
        x, z = _frame(panel, limb.box, across, steps, colour, "-")
        panel.annotate(
            str(number + 1),
            (x, z),
            (4 + 12 * number, -12),
            textcoords="offset points",
            color=colour,
        )
    panel.set(xlim=(-4, extent[1] + 4), ylim=(-4, extent[3] + 4), facecolor="black")
    panel.set_title(f"{title}, {ends[0]} to {ends[1]}", color=_INK, fontsize=9)
    panel.tick_params(colors=_INK, labelsize=7)


def _frame(
    panel: "Axes", box: Box, across: int, steps: tuple[float, ...], colour: str, style: str
) -> tuple[float, float]:
    """Draw a box; its upper left corner in mm."""
    from matplotlib.patches import Rectangle

    (z0, z1), (x0, x1) = (
        _scaled(box[0], steps[0]),
        _scaled(box[across], steps[across]),
    )
    panel.add_patch(
        Rectangle(
            (x0, z0), x1 - x0, z1 - z0, fill=False, color=colour, linestyle=style, linewidth=1.2
        )
    )
    return x0, z1


def _scaled(part: Range, step: float) -> tuple[float, float]:
    return part[0] * step, part[1] * step


def _picture(seen: Inspected, axis: int) -> Float[np.ndarray, "row column 3"]:
    """The body in grey, bone bright, and what lies beside it in red."""
    from matplotlib.colors import to_rgb

    body, whole = (
        ((hu + 1000).clamp(min=0) + 2 * (hu - 150).clamp(min=0)).mean(dim=axis).sqrt()
        for hu in (seen.clean.values, seen.volume.values)
    )
    grey, beside = (part / body.max() for part in (body, whole - body))
    red = torch.tensor(to_rgb(_COUCH))
    return (grey[..., None] + 1.5 * beside[..., None] * red).clamp(0, 1).numpy()


def _tint(
    mask: Bool[Tensor, "row column"], colour: str, opacity: float
) -> Float[np.ndarray, "row column 4"]:
    from matplotlib.colors import to_rgba

    picture = np.zeros((*mask.shape, 4))
    picture[mask.numpy()] = to_rgba(colour, opacity)
    return picture
