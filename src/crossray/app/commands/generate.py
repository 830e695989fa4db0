"""`crossray generate` and `crossray verify`: sets of samples in shards, and proof that they are whole."""

import os
from functools import partial
from pathlib import Path

from crossray.correspondence.ground_truth import Definition
from crossray.data.sample import SampleConfig
from crossray.errors import InputError
from crossray.generation.driver import generate
from crossray.generation.engines import Engine, local
from crossray.generation.on_ray import on_ray
from crossray.generation.plan import GenerationConfig
from crossray.generation.verify import verify
from crossray.geometry.views import Protocol, ViewSampling

CACHE = Path("~/.cache/crossray/volumes")


def set_config(
    ct: Path | None, samples: int, views: int, seed: int, protocol: Protocol, definition: Definition, shard: int
) -> GenerationConfig:  # fmt: skip
    """What the command line asks for; the rest is the fixed test protocol."""
    sampling = ViewSampling(protocol=protocol, views=views)
    sample = SampleConfig(views=sampling, definition=definition)
    return GenerationConfig(
        ct=str(ct.resolve()) if ct else "", samples=samples, seed=seed, shard=shard, sample=sample
    )


def engine_of(name: str, workers: int | None, ray_address: str | None) -> Engine:
    """Who makes the shards: processes of this machine, or Ray."""
    if name == "ray" and workers is not None:
        raise InputError("--workers is for --engine local; Ray takes every core of its cluster.")
    if name == "local" and ray_address is not None:
        raise InputError("--ray-address is for --engine ray; add it, or leave the address out.")
    if name == "ray":
        return partial(on_ray, address=ray_address)
    return partial(local, workers=workers or os.cpu_count() or 1)


def make_set(config: GenerationConfig, out: str, cache: Path | None, engine: Engine) -> None:
    """Make a set, or go on making it, and say how it ended."""
    kept = (cache or CACHE).expanduser().resolve()
    report = generate(config, out, kept, engine, progress=True)
    for name, reason in report.refused.items():
        print(f"Left out: {name}: {reason}")
    print(report)


def prove_set(url: str) -> None:
    """Check every shard of a set, and say what is wrong with it."""
    problems = verify(url, progress=True)
    for problem in problems:
        print(problem)
    if problems:
        raise InputError(
            f"{url} is not as it was made (problems: {len(problems)}); delete the shards named above and give the "
            "command that made the set once more."
        )
    print(f"{url} is whole.")
