"""One training sample from a CT: views, their appearance and their true correspondence, all from one seed."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.correspondence import correspondence, patch_grid
from crossray.correspondence.blocks import block_average
from crossray.correspondence.ground_truth import Definition
from crossray.errors import InputError
from crossray.geometry import Cameras, sample_cameras
from crossray.geometry.views import ViewSampling
from crossray.projection import project
from crossray.projection.appearance import Appearance, Look, sample_appearance
from crossray.volumes.table import cut_faces
from crossray.volumes.volume import Volume

_BONE_HU, _TISSUE_HU = 250.0, -200.0
_ANCHORS = 4096


@dataclass(frozen=True)
class SampleConfig:
    """What a sample is; the defaults are the fixed test protocol.

    Args:
        views: Which cameras are drawn.
        patch: Side of a patch in pixels.
        definition: Of the truth, `exact` or `paper`.
        kev: Photon energy of the rendering.
        fade_mm: Depth over which a limb's cut ends (the volume's z faces) fade into air: films have none.
        stretch: Each axis of the volume is stretched or shrunk by up to this share, by chance: other proportions than
            those of the few people at hand. 0 leaves it as it is.
        thin: Rays per detector side are this many times fewer than pixels, and the image is enlarged by repetition;
            2 serves networks that halve their input anyway, at a quarter of the time.
        truth_block: The truth takes the volume averaged over squares of this many voxels in a slice; 1 is exact, and
            `paper`, which has blocks of its own, ignores it.
        truth_thin: The truth takes a detector of this many times fewer pixels along a side; 1 is exact.
        truth: False leaves the correspondence at 0, for samples that only serve as images.
        look: Of the images, `plain` or `pacs`; poses that were kept serve both, so it is no part of the repr.
    """

    views: ViewSampling = field(default_factory=ViewSampling)
    patch: int = 16
    definition: Definition = "exact"
    kev: float = 60.0
    fade_mm: float = 10.0
    stretch: float = 0.0
    thin: int = 1
    truth_block: int = 1
    truth_thin: int = 1
    truth: bool = True
    look: Look = field(default="plain", repr=False)


@dataclass(frozen=True, eq=False)
class Source:
    """A volume made ready for drawing many samples: cut ends faded, attenuation computed, bone found.

    Args:
        volume: Hounsfield units.
        attenuation: In 1/mm.
        truth: The volume the truth is computed from.
        anchors: World positions in bone, mm, near which views are centred.
        reach_mm: World z range (inferior, superior) of the volume.
    """

    volume: Volume
    attenuation: Volume
    truth: Volume
    anchors: Float[np.ndarray, "anchor 3"]
    reach_mm: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Sample:
    """Views of one limb and which of their patches match.

    Args:
        images: Radiographs in [0, 1], bone bright.
        correspondence: The true matrix; blocks of a view with itself are 0.
        cameras: Of the views.
        lines: Line integrals the images were made from, (view, row / thin, column / thin).
        looks: What made images of them.
    """

    images: Float[Tensor, "view row column"]
    correspondence: Float[Tensor, "view view patch patch"]
    cameras: Cameras
    lines: Float[Tensor, "view ray_row ray_column"]
    looks: tuple[Appearance, ...] = ()


def prepare(volume: Volume, config: SampleConfig = SampleConfig()) -> Source:
    """Everything about a volume that its samples share."""
    faded = _fade_ends(volume, config.fade_mm)
    step = 1 if config.definition == "paper" else config.truth_block
    return Source(
        volume=faded,
        attenuation=faded.attenuation(config.kev),
        truth=block_average(faded, (1, step, step)) if step > 1 else faded,
        anchors=_anchors(volume),
        reach_mm=_reach_mm(volume),
    )


def stretched(source: Source, factors: Float[np.ndarray, "3"]) -> Source:
    """The source scaled along the x, y and z axes of its voxel grid, about the world's origin."""
    axes = source.volume.world_from_voxel[:3, :3]
    scale = torch.eye(4, dtype=torch.float64)
    scale[:3, :3] = axes @ torch.from_numpy(factors).diag() @ torch.linalg.inv(axes)
    volume, attenuation, truth = (
        replace(part, world_from_voxel=scale @ part.world_from_voxel)
        for part in (source.volume, source.attenuation, source.truth)
    )
    anchors = source.anchors @ scale[:3, :3].numpy().T
    return Source(volume, attenuation, truth, anchors, _reach_mm(volume))


def make_sample(
    volume: Volume | Source, seed: int, config: SampleConfig = SampleConfig()
) -> Sample:
    """Draw one sample: poses, line integrals, appearance and truth, all from the seed.

    Args:
        volume: Hounsfield units, or the same made ready by `prepare` to save its time.
        seed: The same seed, volume and configuration give the same sample, bit for bit.
        config: What to draw.

    Raises:
        InputError: A negative seed, a patch that does not divide the image, an unknown protocol, definition or look.
    """
    if seed < 0:
        raise InputError(f"seed={seed} is negative; give a whole number from 0 up.")
    patch_grid(config.views.size, config.patch)
    source = volume if isinstance(volume, Source) else prepare(volume, config)
    rng = np.random.default_rng(seed)
    if config.stretch > 0:
        source = stretched(source, (1 + config.stretch) ** rng.uniform(-1, 1, 3))
    isocenter = torch.from_numpy(source.anchors[rng.integers(len(source.anchors))])
    cameras = sample_cameras(rng, isocenter, config.views, source.reach_mm)
    lines = project_thin(source.attenuation, cameras, config.thin)
    looks = [sample_appearance(rng, look=config.look) for _ in range(len(cameras))]
    images = enlarge(
        torch.stack([look(view) for look, view in zip(looks, lines, strict=True)]), config.thin
    )
    return Sample(images, truth(source, cameras, config), cameras, lines, tuple(looks))


def truth(
    source: Source, cameras: Cameras, config: SampleConfig
) -> Float[Tensor, "view view patch patch"]:
    """The sample's true matrix, between different views only."""
    if not config.truth:
        grid = patch_grid(cameras.size, config.patch)
        return torch.zeros(len(cameras), len(cameras), grid[0] * grid[1], grid[0] * grid[1])
    patch = config.patch // config.truth_thin
    if patch * config.truth_thin != config.patch:
        raise InputError(
            f"truth_thin={config.truth_thin} does not divide patches of {config.patch} pixels."
        )
    coarse = cameras.regrid(
        (cameras.size[0] // config.truth_thin, cameras.size[1] // config.truth_thin)
    )
    return correspondence(source.truth, coarse, patch, config.definition, itself=False)


def project_thin(
    attenuation: Volume, cameras: Cameras, thin: int
) -> Float[Tensor, "view row column"]:
    """Line integrals of a `thin` times coarser detector of the same field.

    Raises:
        InputError: A `thin` that does not divide the image.
    """
    if thin < 1 or cameras.size[0] % thin or cameras.size[1] % thin:
        size = f"{cameras.size[0]} x {cameras.size[1]}"
        raise InputError(f"thin={thin} does not divide images of {size} pixels; choose 1 or 2.")
    return project(attenuation, cameras.regrid((cameras.size[0] // thin, cameras.size[1] // thin)))


def enlarge(
    images: Float[Tensor, "view row column"], times: int
) -> Float[Tensor, "view enlarged_row enlarged_column"]:
    """Images with every pixel repeated."""
    return images.repeat_interleave(times, 1).repeat_interleave(times, 2)


def lateral_cut(volume: Volume) -> float:
    """Share of the four sides (not the ends) of a volume that cut through the body: 0 for a whole limb."""
    faces = cut_faces(volume)
    return sum(faces[name] for name in ("x_low", "x_high", "y_low", "y_high")) / 4


def _reach_mm(volume: Volume) -> tuple[float, float]:
    ends = [[0, 0, 0, 1], [0, 0, volume.values.shape[0] - 1, 1]]
    corners = volume.world_from_voxel @ torch.tensor(ends, dtype=torch.float64).T
    low, high = sorted(corners[2].tolist())
    return low, high


def _anchors(volume: Volume) -> Float[np.ndarray, "anchor 3"]:
    """World positions of voxels spread over the bone, or over all tissue where there is hardly any bone."""
    hu = volume.values.numpy()
    indices = np.flatnonzero(hu > _BONE_HU)
    if len(indices) < 100:
        indices = np.flatnonzero(hu > _TISSUE_HU)
    if len(indices) == 0:
        return volume.center.numpy()[None]
    chosen = np.random.default_rng(0).choice(indices, min(_ANCHORS, len(indices)), replace=False)
    z, y, x = np.unravel_index(np.sort(chosen), hu.shape)
    voxels = np.stack([x, y, z, np.ones_like(x)], 1).astype(float)
    return (voxels @ volume.world_from_voxel.numpy().T)[:, :3]


def _fade_ends(volume: Volume, depth_mm: float) -> Volume:
    """The volume with its first and last slices fading into air over a depth."""
    slices = volume.values.shape[0]
    depth = min(depth_mm / volume.spacing[2], slices / 4)
    if depth <= 0:
        return volume
    index = torch.arange(slices)
    weight = ((torch.minimum(index, slices - 1 - index) + 0.5) / depth).clamp(max=1.0)
    return Volume(
        (volume.values + 1000) * weight[:, None, None] - 1000, volume.world_from_voxel, volume.name
    )
