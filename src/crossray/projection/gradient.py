"""The projector as a step of torch's automatic differentiation, back to the volume and to the rays."""

from typing import Any

import torch
from jaxtyping import Float
from numba import get_num_threads
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossray.projection._cpu import project_kernel
from crossray.projection._cpu_gradient import backproject_kernel, ray_gradient_kernel


class Projection(torch.autograd.Function):
    """Line integrals of a volume along the rays of a `RayTable`.

    Backwards, the volume receives the exact adjoint of the projection, and the ray table its derivative. Where a ray
    runs exactly through voxel centres, interpolation has a kink and one side's slope counts. Where a ray's dominant
    axis changes, the projection steps by its interpolation error; the derivative does not know, nor does the slow
    twin's.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Float[Tensor, "z y x"],
        vectors: Float[Tensor, "view 4 3"],
        metric: Float[Tensor, "3 3"],
        size: tuple[int, int],
    ) -> Float[Tensor, "view row column"]:
        """The line integrals, float32."""
        ctx.save_for_backward(values, vectors, metric)
        volume, rays, squares = (x.detach().numpy() for x in (values, vectors, metric))
        return torch.from_numpy(project_kernel(volume, rays, squares, *size))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  torch types the decorator without names
        ctx: Any, *grad_outputs: Float[Tensor, "view row column"]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Derivatives by values, vectors and metric, of those that are asked for."""
        values, vectors, metric = (x.detach().numpy() for x in ctx.saved_tensors)
        weights = grad_outputs[0].contiguous().numpy()
        by_values = by_vectors = by_metric = None
        if ctx.needs_input_grad[0]:
            by_values = torch.from_numpy(
                backproject_kernel(weights, vectors, metric, values.shape, get_num_threads())
            )
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            by_vectors, by_metric = map(
                torch.from_numpy, ray_gradient_kernel(weights, values, vectors, metric)
            )
        return by_values, by_vectors, by_metric, None
