"""How well rendered radiographs pass for real ones: sheets side by side, and classifiers that tell them apart.

    .venv/bin/python benchmarks/realism.py DATA --out FOLDER [--patches 6] [--limb hand] [--json FILE]

DATA holds `ct/` and `radiographs/` as described in docs/data.md. Patches of 64 x 64 pixels of about 0.58 mm come from
the wrists of `graz_wrist` (shrunk four times), and from CTs and phantoms around points in bone. Two classifiers, a
logistic regression on textural features and a small convolutional network, are cross-validated by person; an AUC of 0.5
means that they cannot tell rendered from real. `equalised` leaves nothing of the grey values' distribution. The folder
keeps the line integrals, so that another look is measured in minutes. The sheets show real films:
keep them to yourself.
"""

import argparse
import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn
from torch.nn import functional

from crossray.data.radiographs import read_radiograph
from crossray.data.sample import prepare
from crossray.data.synthetic import clean_ct
from crossray.geometry.views import ViewSampling, sample_cameras
from crossray.matching.preprocess import fit_film
from crossray.projection import project
from crossray.projection.appearance import sample_appearance
from crossray.projection.filters import stretch
from crossray.volumes.phantom import phantom

SIDE, SHRINK, FIELD_MM, PHANTOMS, FOLDS = 64, 4, 140.0, 36, 5
LIMBS = "hand|wrist|knee|leg|thigh|femur"
LOOKS = ("plain", "pacs")


@dataclass(frozen=True)
class Patches:
    """Images (patch, row, column) in [0, 1], and whose they are."""

    images: torch.Tensor
    people: np.ndarray


def real_patches(folder: Path) -> Patches:
    """The wrists, shrunk to the pixels of the rendered views."""
    with open(folder / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    films = torch.stack([read_radiograph(folder / row["file"]).pixels for row in rows])
    small = functional.interpolate(films[:, None], size=(SIDE, SIDE), mode="area")[:, 0]
    return Patches(
        torch.stack([stretch(film) for film in small]),
        np.array([f"real {row['patient_id']}" for row in rows]),
    )


def volumes(data: Path, limb: str) -> list[tuple[str, Callable]]:
    """(person, loader) of the CTs of limbs and of phantoms."""
    with open(data / "ct" / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if re.search(limb, row["anatomy"])]
    limbs = [name for name in ("hand", "knee", "ankle") if limb == LIMBS or name in limb]
    chosen = [(limbs[i % len(limbs)], i // len(limbs)) for i in range(PHANTOMS)]
    scans = [(row["person"], lambda path=data / "ct" / row["file"]: clean_ct(path)) for row in rows]
    return scans + [
        (f"phantom {name} {i}", lambda a=name, b=i: phantom(a, b)) for name, i in chosen
    ]


def rendered_lines(data: Path, limb: str, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Line integrals (view, 256, 256) centred on bone away from cut ends, and whose they are."""
    lines, people = [], []
    for number, (person, load) in enumerate(volumes(data, limb)):
        source, rng = prepare(load()), np.random.default_rng([7, number])
        low, high = source.reach_mm
        inside = np.abs(source.anchors[:, 2] - (low + high) / 2) < max(5.0, (high - low) / 2 - 25)
        sampling = ViewSampling(views=1, field_mm=(FIELD_MM, FIELD_MM), offset=0.04)
        for _ in range(views):
            anchors = source.anchors[inside] if inside.any() else source.anchors
            center = torch.from_numpy(anchors[rng.integers(len(anchors))])
            lines.append(project(source.attenuation, sample_cameras(rng, center, sampling))[0])
            people.append(person)
        print(f"  {person}: {views} views", flush=True)
    return torch.stack(lines).half().numpy(), np.array(people)


def dressed(lines: torch.Tensor, look: str) -> torch.Tensor:
    """Each view in a look of its own, whole."""
    return torch.stack(
        [
            sample_appearance(np.random.default_rng([3, i]), look=look)(view)
            for i, view in enumerate(lines)
        ]
    )


def middle(images: torch.Tensor) -> torch.Tensor:
    """The middle patch of each view, stretched as the real ones are."""
    first = (images.shape[1] - SIDE) // 2
    cut = slice(first, first + SIDE)
    return torch.stack([stretch(image[cut, cut].contiguous()) for image in images])


def equalised(images: torch.Tensor) -> torch.Tensor:
    """Every image with the same histogram: the ranks of its pixels."""
    flat = images.flatten(1) + 1e-6 * torch.rand(images.flatten(1).shape)
    return flat.argsort(1).argsort(1).float().reshape(images.shape) / (flat.shape[1] - 1)


def features(images: torch.Tensor) -> tuple[np.ndarray, list[str]]:
    """Distribution, band energies, tails, direction and what noise follows, one row an image."""
    names, columns = [], []

    def add(name: str, values: torch.Tensor) -> None:
        names.append(name)
        columns.append(values.numpy())

    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        add(f"quantile {share}", images.flatten(1).quantile(share, dim=1))
    rest, stronger = images[:, None], None
    for octave in range(4):
        small = functional.avg_pool2d(rest, 2)
        band = (rest - functional.interpolate(small, rest.shape[2:], mode="bilinear"))[:, 0]
        flat = band[:, 1:-1, 1:-1].flatten(1)
        spread = flat.std(1).clamp(min=1e-6)
        add(f"band {octave} energy", spread.log())
        add(f"band {octave} tails", (flat / spread[:, None]).pow(4).mean(1).clamp(max=100).log())
        add(f"band {octave} skew", (flat / spread[:, None]).pow(3).mean(1).clamp(-20, 20))
        level = rest[:, 0, 1:-1, 1:-1].flatten(1)
        add(f"band {octave} with level", _correlation(flat.abs(), level))
        down, right = (
            band.diff(dim=axis).square().mean((1, 2)).clamp(min=1e-12) for axis in (1, 2)
        )
        add(f"band {octave} direction", (down / right).log())
        if stronger is not None:
            weaker = functional.avg_pool2d(stronger.abs()[:, None], 2)[:, 0]
            add(
                f"bands {octave - 1}, {octave} together",
                _correlation(weaker.flatten(1), band.abs().flatten(1)),
            )
        stronger, rest = band, small
    return np.stack(columns, 1), names


def _correlation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    one, other = (x - x.mean(1, keepdim=True) for x in (one, other))
    return (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1)).clamp(min=1e-9)


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Chance that a real patch scores above a rendered one."""
    ranks = rankdata(scores)
    ones = labels == 1
    count = ones.sum()
    return float((ranks[ones].sum() - count * (count + 1) / 2) / (count * (~ones).sum()))


def interval(scores: np.ndarray, labels: np.ndarray, people: np.ndarray) -> tuple[float, float]:
    """95 % of 500 bootstrap samples of people, real and rendered apart."""
    rng = np.random.default_rng(0)
    members = {person: np.flatnonzero(people == person) for person in np.unique(people)}
    groups = [np.unique(people[labels == label]) for label in (0, 1)]
    values = []
    for _ in range(500):
        drawn = [person for group in groups for person in rng.choice(group, len(group))]
        chosen = np.concatenate([members[person] for person in drawn])
        values.append(auc(scores[chosen], labels[chosen]))
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def folds(people: np.ndarray) -> np.ndarray:
    """The fold of every patch: all of a person in one."""
    unique, number = np.unique(people, return_inverse=True)
    return np.random.default_rng(1).permutation(len(unique))[number] % FOLDS


def regression_scores(images: torch.Tensor, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Out-of-fold scores of a logistic regression on features."""
    table, _ = features(images)
    scores = np.zeros(len(labels))
    for k in range(FOLDS):
        train = fold != k
        mean, spread = table[train].mean(0), table[train].std(0) + 1e-9
        x = torch.from_numpy(((table - mean) / spread).clip(-5, 5)).double()
        weights = _fitted(x[train], torch.from_numpy(labels[train]))
        scores[~train] = (x[~train] @ weights).numpy()
    return scores


def _fitted(x: torch.Tensor, y: torch.Tensor, decay: float = 1e-2, steps: int = 25) -> torch.Tensor:
    """Weights of a ridge-penalised logistic regression, both classes counting alike, by Newton's method."""
    ones = torch.cat([torch.ones(len(x), 1, dtype=x.dtype), x], 1)
    balance = torch.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean())) / len(y)
    ridge = 2 * decay * torch.eye(ones.shape[1], dtype=x.dtype)
    weights = torch.zeros(ones.shape[1], dtype=x.dtype)
    for _ in range(steps):
        chance = torch.sigmoid(ones @ weights)
        slope = ones.T @ (balance * (chance - y)) + ridge @ weights
        curvature = ones.T @ ((balance * chance * (1 - chance))[:, None] * ones) + ridge
        weights -= torch.linalg.solve(curvature, slope)
    return weights[1:]


def network_scores(images: torch.Tensor, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Out-of-fold scores of a small convolutional network."""
    scores, x, y = np.zeros(len(labels)), images[:, None] - 0.5, torch.from_numpy(labels).float()
    for k in range(FOLDS):
        torch.manual_seed(k)
        layers = []
        for a, b, step in ((1, 12, 2), (12, 24, 2), (24, 32, 2)):
            layers += [nn.Conv2d(a, b, 5, step, 2), nn.BatchNorm2d(b), nn.ReLU()]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1))
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
        train = torch.from_numpy(np.flatnonzero(fold != k))
        rate = y[train].mean()
        for _ in range(10):
            for batch in train[torch.randperm(len(train))].split(32):
                flips = [axis for axis in (2, 3) if torch.rand(()) < 0.5]
                logits = network(x[batch].flip(flips))[:, 0]
                balance = torch.where(y[batch] == 1, 0.5 / rate, 0.5 / (1 - rate))
                loss = functional.binary_cross_entropy_with_logits(logits, y[batch], balance)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()
        held = np.flatnonzero(fold == k)
        with torch.inference_mode():
            scores[held] = network(x[held])[:, 0].numpy()
    return scores


def measure(real: Patches, rendered: Patches, look: str) -> dict:
    """AUC of every classifier and way of looking, and the features that tell most."""
    people = np.concatenate([real.people, rendered.people])
    labels = np.concatenate([np.ones(len(real.people)), np.zeros(len(rendered.people))])
    fold, result = folds(people), {}
    images = torch.cat([real.images, rendered.images])
    for way, shown in (("as it is", images), ("equalised", equalised(images))):
        table, names = features(shown)
        single = {name: auc(column, labels) for name, column in zip(names, table.T, strict=True)}
        cues = sorted(single.items(), key=lambda item: -abs(item[1] - 0.5))[:8]
        result[way] = {"cues": {cue: round(value, 2) for cue, value in cues}}
        print("  ".join(f"{cue} {value:.2f}" for cue, value in cues), flush=True)
        for name, classifier in (("regression", regression_scores), ("network", network_scores)):
            scores = classifier(shown, labels, fold)
            value, (low, high) = auc(scores, labels), interval(scores, labels, people)
            result[way][name] = {"auc": value, "low": low, "high": high}
            print(
                f"{look:5s} {way:9s} {name:10s} AUC {value:.3f} ({low:.3f} to {high:.3f})",
                flush=True,
            )
    return result


def sheet(path: Path, rows: Sequence[torch.Tensor], side: int) -> None:
    """Rows of images, one below the other, every image `side` pixels wide."""
    from PIL import Image

    tiles = []
    for row in rows:
        large = functional.interpolate(row[:, None], size=(side, side), mode="bilinear")[:, 0]
        tiles.append(torch.cat(list(functional.pad(large, (2, 2, 2, 2), value=0.5)), dim=1))
    picture = (torch.cat(tiles).clamp(0, 1) * 255).round().to(torch.uint8)
    Image.fromarray(picture.numpy()).save(path)


def sheets(data: Path, out: Path, real: Patches, whole: dict[str, torch.Tensor]) -> None:
    """patches.png: real, then each look; whole.png: real films, then views in each look."""
    rng = np.random.default_rng(5)
    some = [rng.permutation(len(images))[:14] for images in (real.images, whole["plain"])]
    cuts = [middle(whole[look][some[1]]) for look in LOOKS]
    sheet(out / "patches.png", [real.images[some[0]], *cuts], 128)
    files = [
        file
        for folder in ("commons", "graz_wrist_full")
        for file in sorted((data / "radiographs" / folder).glob("*.[jp][pn]g"))
    ]
    films = torch.stack([fit_film(read_radiograph(f).pixels, (256, 256))[0] for f in files])
    rows = [films[:7], films[7:14], *(whole[look][some[1][:7]] for look in LOOKS)]
    sheet(out / "whole.png", [*rows, whole["pacs"][some[1][7:]]], 256)


def main() -> None:
    """Render, measure, print, and write sheets and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patches", type=int, default=6, help="of every CT and phantom")
    parser.add_argument("--limb", default=LIMBS, help="which anatomy, a regular expression")
    parser.add_argument("--looks", nargs="+", default=LOOKS, choices=LOOKS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / f"lines-{re.sub('[^a-z]', '-', options.limb)}-{options.patches}.npz"
    if not kept.exists():
        lines, people = rendered_lines(options.data, options.limb, options.patches)
        np.savez_compressed(kept, lines=lines, people=people)
    with np.load(kept) as file:
        lines, people = torch.from_numpy(file["lines"]).float(), file["people"]
    real = real_patches(options.data / "radiographs" / "graz_wrist")
    whole = {look: dressed(lines, look) for look in LOOKS}
    sheets(options.data, options.out, real, whole)
    results = {
        look: measure(real, Patches(middle(images), people), look)
        for look, images in whole.items()
        if look in options.looks
    }
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
