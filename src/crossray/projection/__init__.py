"""Cone-beam line integrals through a volume: one public function, one kernel a device, one slow twin."""

from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection.rays import on_gpu, ray_table
from crossray.volumes.volume import Volume

__all__ = ["project"]

LARGEST = 2**31 - 1
"""Voxels that the CPU kernel's 32-bit offsets reach: a volume of 8 GB."""


def project(volume: Volume, cameras: Cameras) -> Float[Tensor, "view row column"]:
    """Line integrals of a volume along the rays of all pixels, by Joseph's method.

    Differentiable by the volume's values and affine and by whatever the cameras were made of, where these require it.

    Args:
        volume: Attenuation in 1/mm (`Volume.attenuation`) or anything else to integrate; outside of it is air (0).
            On an NVIDIA GPU (`Volume.to`) the work is done there, and nobody waits for it.
        cameras: One or more views.

    Returns:
        Integral along each ray from source to pixel, mm times the volume's unit (none for attenuation), float32, on the
        volume's device.

    Raises:
        InputError: A source inside the volume.

    Source: Joseph, IEEE Trans Med Imaging 1 (1982) 192; the definition in code is `projection.reference`.
    """
    from crossray.projection.gradient import Projection

    rays = ray_table(volume, cameras)
    if on_gpu(volume.values):
        from crossray.projection._cuda import project_cuda

        if any(x.requires_grad for x in (volume.values, rays.vectors, rays.metric)):
            raise InputError(
                f"{volume.name} lies on a GPU, where project has no gradient; use volume.to('cpu')."
            )
        return project_cuda(volume.values, rays)
    if volume.values.numel() > LARGEST:
        raise InputError(
            f"{volume.name} has {volume.values.numel()} voxels, more than {LARGEST}; crop or resample it."
        )
    return Projection.apply(volume.values, rays.vectors, rays.metric, rays.size)
