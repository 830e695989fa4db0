"""`crossray demo`: two radiographs of a phantom, their bands beside the true ones, and a score."""

import time
from pathlib import Path

import torch
from torch import Tensor

from crossray.app.commands.evaluate import sample_config, save
from crossray.app.commands.render import Geometry, write_png, write_truth
from crossray.correspondence import correspondence
from crossray.data.radiographs import Radiograph
from crossray.data.sample import prepare
from crossray.evaluation.protocol import UNSEEN, Bench, phantom_volumes
from crossray.evaluation.run import MatcherReport, evaluate_matcher
from crossray.matching import Matcher, Matches
from crossray.matching.files import all_or_none, write_matches
from crossray.projection.appearance import render
from crossray.volumes.phantom import phantom

SIZE = 512
VOLUMES = 3
VIEWS = {"AP": 0.0, "lateral": 90.0}


def demo(out: Path, limb: str, weights: str, pairs: int, seed: int) -> None:
    """Render, match, score, and write everything or nothing."""
    start = time.perf_counter()
    matcher = Matcher.load(weights)
    print(f"Rendering and matching a {limb} no training has seen ...", flush=True)
    matches, truth = match_phantom(matcher, limb, seed)
    report = score_phantoms(matcher, pairs, seed)
    with all_or_none(out) as partial:
        names = [f"{limb}-{name.lower()}.png" for name in VIEWS]
        for name, image in zip(names, matches.images, strict=True):
            write_png(partial / name, image)
        write_truth(partial / "correspondence.npz", truth, names, matches.image_size[0])
        write_matches(matches, partial, truth)
        save(report, partial / "scores.json")
    print(f"On {report.pairs} pairs of views of {VOLUMES} phantoms no training has seen:")
    print(f"  average precision {report.ap:.3f}, by chance {report.prevalence:.3f}")
    print(f"  precision {report.precision:.3f} and recall {report.recall:.3f} at C > 0.2")
    print(f"Done in {time.perf_counter() - start:.0f} s.")
    print(f"  {out / 'matches.html'}  open it and point at a bone")
    print(f"  {out / 'matches.png'}   the truth below the prediction")


def match_phantom(matcher: Matcher, limb: str, seed: int) -> tuple[Matches, Tensor]:
    """AP and lateral radiographs of a phantom never trained on, matched, and the truth on the same patches."""
    volume = prepare(phantom(limb, UNSEEN + seed)).volume  # its cut end fades, as in training
    cameras = Geometry(primary=tuple(VIEWS.values()), size=SIZE).cameras(volume)
    images = render(volume, cameras, seed=None)
    films = [Radiograph(image, name=name) for name, image in zip(VIEWS, images, strict=True)]
    truth = correspondence(volume, cameras, patch=SIZE // matcher.network.config.patches[0])
    return matcher.match(films), truth


def score_phantoms(matcher: Matcher, pairs: int, seed: int) -> MatcherReport:
    """The fixed test on phantoms never trained on, without slope and position prior, for their time."""
    bench = Bench(phantom_volumes(VOLUMES), sample_config(matcher.network))
    settings = {"weights": matcher.name, "seed": seed}
    with torch.inference_mode():
        samples = bench.samples(pairs, seed)
        return evaluate_matcher(matcher.network, samples, settings=settings, progress=True)
