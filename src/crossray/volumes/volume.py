"""A sampled volume and where its voxels lie in the patient."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError

AIR_HU = -1000.0
"""Hounsfield units of what lies outside the body."""


@dataclass(frozen=True, repr=False)
class Volume:
    """Values on a regular grid, and the affine map from voxel indices to the patient.

    Args:
        values: Array [z, y, x]: Hounsfield units from `read_ct`, 1/mm from `attenuation`. float32, on any device.
        world_from_voxel: 4x4 affine that maps homogeneous voxel indices (x, y, z, 1) to the DICOM patient
            frame LPS in mm; float64, on the CPU. Voxel centres lie at whole-number indices.
        name: What to call the volume in messages, usually its file.
        notes: What was repaired or left out when it was read, one sentence each; empty where the file was sound.

    Raises:
        InputError: A volume that is not 3-D, has an empty axis, holds NaN or infinity, or whose affine is singular.
    """

    values: Float[Tensor, "z y x"]
    world_from_voxel: Float[Tensor, "4 4"]
    name: str = "volume"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = torch.as_tensor(self.values, dtype=torch.float32)
        affine = torch.as_tensor(self.world_from_voxel, dtype=torch.float64, device="cpu")
        object.__setattr__(self, "values", values.contiguous())
        object.__setattr__(self, "world_from_voxel", affine)
        if values.ndim != 3 or values.numel() == 0:
            raise InputError(
                f"{self.name} has shape {tuple(values.shape)}; a volume needs three non-empty axes [z, y, x]."
            )
        if not all(torch.isfinite(extreme) for extreme in torch.aminmax(values.detach())):
            raise InputError(
                f"{self.name} holds NaN or infinite values; replace them (air is -1000 HU) and try again."
            )
        if (
            affine.shape != (4, 4)
            or not torch.isfinite(affine).all()
            or torch.linalg.det(affine).abs() < 1e-9
        ):
            raise InputError(
                f"{self.name} has no invertible 4x4 world_from_voxel; give spacing and directions in mm."
            )

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (x, y, z), in mm."""
        x, y, z = torch.linalg.norm(self.world_from_voxel[:3, :3], dim=0).tolist()
        return x, y, z

    @property
    def center(self) -> Float[Tensor, " 3"]:
        """World position of the middle of the voxel grid, LPS in mm."""
        z, y, x = self.values.shape
        middle = torch.tensor([(x - 1) / 2, (y - 1) / 2, (z - 1) / 2, 1.0], dtype=torch.float64)
        return (self.world_from_voxel @ middle)[:3]

    @property
    def voxel_from_world(self) -> Float[Tensor, "4 4"]:
        """Inverse of `world_from_voxel`."""
        return torch.linalg.inv(self.world_from_voxel)

    def to(self, device: torch.device | str) -> "Volume":
        """The same volume with its values on a device such as "cuda"; its geometry stays on the CPU."""
        return replace(self, values=self.values.to(device))

    def attenuation(self, kev: float = 60.0) -> "Volume":
        """Linear attenuation in 1/mm at a photon energy in keV; see `crossray.volumes.attenuation`."""
        from crossray.volumes.attenuation import attenuation_from_hu

        return replace(self, values=attenuation_from_hu(self.values, kev))

    def __repr__(self) -> str:
        x, y, z = self.spacing
        megabytes = self.values.numel() * self.values.element_size() / 1e6
        shape = " x ".join(str(n) for n in self.values.shape)
        spacing = f"{x:.3g} x {y:.3g} x {z:.3g} mm"
        return f"Volume({self.name}: [z, y, x] {shape}, spacing (x, y, z) {spacing}, {megabytes:.0f} MB)"
