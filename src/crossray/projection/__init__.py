"""Cone-beam line integrals through a volume: one public function, one kernel a device, one slow twin."""

from jaxtyping import Float
from torch import Tensor

from crossray.geometry import Cameras
from crossray.projection.rays import ray_table
from crossray.volumes.volume import Volume

__all__ = ["project"]


def project(volume: Volume, cameras: Cameras) -> Float[Tensor, "view row column"]:
    """Line integrals of a volume along the rays of all pixels, by Joseph's method.

    Differentiable by the volume's values and affine and by whatever the cameras were made of, where these require it.

    Args:
        volume: Attenuation in 1/mm (`Volume.attenuation`) or anything else to integrate; outside of it is air (0).
        cameras: One or more views.

    Returns:
        Integral along each ray from source to pixel, mm times the volume's unit (none for attenuation), float32.

    Raises:
        InputError: A source inside the volume.

    Source: Joseph, IEEE Trans Med Imaging 1 (1982) 192; the definition in code is `projection.reference`.
    """
    from crossray.projection.gradient import Projection

    rays = ray_table(volume, cameras)
    return Projection.apply(volume.values, rays.vectors, rays.metric, rays.size)
