"""Networks: tensors in, tensors out.

This room imports nothing else of crossray and needs torch, jaxtyping and safetensors alone. A matcher is built
from a `MatcherConfig` and lives in one safetensors file.
"""
