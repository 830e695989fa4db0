"""The one truth of a simulated fracture in every view: where it lies, and how well it is seen."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.filters import blurred
from crossray.volumes.fracture import Broken
from crossray.volumes.resample import crop

SEEN_MM = 0.5
"""A pixel shows the lesion where its ray runs through it for longer than this."""

_DETAIL = 0.02  # a view's detail is what a blur over this share of its side takes away
_NOISE = 0.01  # line integrals of a plain exposure are no surer
_CLEAREST = 0.95


@dataclass(frozen=True, eq=False)
class LesionViews:
    """A lesion in every view; row `view` of each is the same lesion.

    Args:
        depth_mm: Length of each pixel's ray within the lesion.
        boxes: First row and column, and one past the last, of the pixels that show it; no area where none does.
        visibility: c / (c + n), from 0 for what cannot be seen to 1. c is the 95 % quantile, over the pixels that show
            the lesion, of what the break changed in the view's detail; n is the detail's root mean square there before
            the break, plus 0.01 for noise. Detail: line integrals less their blur over 2 % of the view's side.
    """

    depth_mm: Float[Tensor, "view row column"]
    boxes: Float[Tensor, "view 4"]
    visibility: Float[Tensor, " view"]


def broken_lines(
    broken: Broken, intact: Float[Tensor, "view row column"], cameras: Cameras, kev: float = 60.0
) -> Float[Tensor, "view row column"]:
    """Line integrals after the break, from those before it: only the change is projected, as `project` is linear."""
    # With one voxel more on every side, as rays weigh the outermost voxels of a volume less than others.
    z, y, x = (slice(max(0, part.start - 1), part.stop + 1) for part in broken.box)
    before, after = (
        crop(volume, (z, y, x)).attenuation(kev) for volume in (broken.intact, broken.volume)
    )
    change = replace(after, values=after.values - before.values)
    return intact + project(change, cameras)


def lesion_views(
    broken: Broken,
    before: Float[Tensor, "view row column"],
    after: Float[Tensor, "view row column"],
    cameras: Cameras,
) -> LesionViews:
    """Find a lesion in views.

    Args:
        broken: The volume before and after the break.
        before: Line integrals of attenuation before the break.
        after: And after it.
        cameras: Of the views.
    """
    depth = project(broken.lesion, cameras)
    boxes, visibility = torch.zeros(len(cameras), 4), torch.zeros(len(cameras))
    for view, seen in enumerate(depth > SEEN_MM):
        rows, columns = (seen.any(1 - axis).nonzero()[:, 0] for axis in (0, 1))
        if not len(rows):
            continue
        edges = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        boxes[view] = torch.tensor([float(edge) for edge in edges])
        old, new = (lines[view] - blurred(lines[view], _DETAIL) for lines in (before, after))
        clear = (new - old)[seen].abs().quantile(_CLEAREST)
        visibility[view] = clear / (clear + old[seen].square().mean().sqrt() + _NOISE)
    return LesionViews(depth, boxes, visibility)
