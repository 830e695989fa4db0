"""How well `crossray link` tells boxes of one lesion from others, on simulated fractures of people it never saw.

    .venv/bin/python benchmarks/link_auroc.py --ct DIR --studies 80 --json FILE
    .venv/bin/python benchmarks/link_auroc.py --ct DIR --split train --studies 60 --seed 1 --fit  # matching/link.py

Two fractures in one volume, two views. A pair of boxes of one lesion is to be told from: the other lesion's box
(`lesion`), a box of the same size about bone elsewhere, 30 mm away (`bone`), and one about bone at the same level
(`level`): within 10 mm along the broken bone, 20 mm away in space. Boxes that lie over the true one (intersection over
union from 0.1) are left out: in that view they are the same place.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from crossray.data.fractures import FracturePairs, FractureSampling
from crossray.data.lesions import broken_lines, lesion_views
from crossray.data.sample import project_thin
from crossray.evaluation.calibration import fit_logistic
from crossray.evaluation.metrics import percentile_interval, person_weights
from crossray.geometry import sample_cameras
from crossray.matching import Matcher
from crossray.matching.link import COEFFICIENTS, link_feature, patch_share
from crossray.projection.appearance import sample_appearance
from crossray.volumes.fracture import Bones, apply_fracture, draw_fracture, draw_site

APART_MM, LEVEL_MM, ASIDE_MM, OVERLAP, OTHERS = 30.0, 10.0, 20.0, 0.1, 4
KINDS = ("lesion", "bone", "level")


def second_site(rng, bones, first, broken):
    """A place that the first fracture left as it was, some way from it; None where there is none."""
    for _ in range(30):
        site = draw_site(rng, bones)
        if np.linalg.norm(site.center - np.array(first.center)) < APART_MM:
            continue
        voxel = (bones.volume.voxel_from_world.numpy() @ np.append(site.center, 1))[:3]
        reach = 2 * site.radius_mm
        near = tuple(
            slice(max(0, int(v - reach)), int(v + reach) + 1) for v in reversed(voxel.tolist())
        )
        if torch.equal(bones.volume.values[near], broken.volume.values[near]):
            return site
    return None


def bone_points(rng, bones):
    voxels = np.argwhere(bones.labels.numpy()[::3, ::3, ::3])[:, ::-1] * 3.0
    voxels = voxels[rng.permutation(len(voxels))[:4000]]
    affine = bones.volume.world_from_voxel.numpy()
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def centred(box, at, size):
    """A box of the same size about another place; None where that lies beside the film."""
    half = np.array([box[2] - box[0], box[3] - box[1]]) / 2
    middle = np.asarray(at) + 0.5
    if not ((middle >= 0) & (middle < size)).all():
        return None
    return (*np.maximum(middle - half, 0), *np.minimum(middle + half, size))


def study(pairs, draw) -> Iterator[tuple]:
    """(kind, box of view 0, box of view 1), the images and the person; kind `same` for boxes of one lesion."""
    name, bones, rng = pairs.drawn(draw)
    config = pairs.config
    first = draw_fracture(rng, bones, config.fracture)
    one = apply_fracture(bones, first)
    site = second_site(rng, bones, first, one)
    if site is None:
        return None
    second = draw_fracture(rng, bones, config.fracture, site)
    two = apply_fracture(Bones(one.volume, one.volume, bones.labels, bones.sites), second)
    middle = torch.tensor(np.mean([first.center, second.center], 0))
    cameras = sample_cameras(rng, middle, config.sample.views)
    intact = project_thin(bones.volume.attenuation(60), cameras, 1)
    after_one = broken_lines(one, intact, cameras)
    lines = broken_lines(two, after_one, cameras)
    boxes = [
        lesion_views(one, intact, after_one, cameras).boxes.tolist(),
        lesion_views(two, after_one, lines, cameras).boxes.tolist(),
    ]
    images = torch.stack([sample_appearance(rng)(view) for view in lines])
    found = []
    points = bone_points(rng, bones)
    for mine, other, fracture in ((*boxes, first), (*boxes[::-1], second)):
        if not has_area(mine[0]) or not has_area(mine[1]):
            continue
        found.append(("same", mine[0], mine[1]))
        if has_area(other[1]):
            found.append(("lesion", mine[0], other[1]))
        offset = points - np.array(fracture.center)
        away = np.linalg.norm(offset, axis=1)
        level = np.abs(offset @ np.array(fracture.axis)) < LEVEL_MM
        for kind, good in (("bone", away > APART_MM), ("level", level & (away > ASIDE_MM))):
            places = cameras[1].project_points(torch.from_numpy(points[good]))[0].numpy()
            made = [centred(mine[1], at, config.sample.views.size) for at in places[:200]]
            clear = [box for box in made if box is not None and overlap(box, mine[1]) < OVERLAP]
            found += [(kind, mine[0], box) for box in clear[:OTHERS]]
    return pairs.persons[name], images, found


def overlap(a, b):
    """Intersection over union of two boxes."""
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    inner = sides[0] * sides[1]
    return inner / (sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - inner)


def has_area(box):
    return box[2] > box[0] and box[3] > box[1]


def auroc(yes, no, weight_yes, weight_no):
    """Chance that a yes outscores a no, each weighted, ties half."""
    order = np.unique(np.concatenate([yes, no]))
    counts = [
        np.bincount(np.searchsorted(order, s), w, len(order))
        for s, w in ((yes, weight_yes), (no, weight_no))
    ]
    below = np.cumsum(counts[1]) - counts[1]
    total = counts[0].sum() * counts[1].sum()
    return float((counts[0] * (below + 0.5 * counts[1])).sum() / total) if total else float("nan")


def scored(rows, kinds, column, draws=1000):
    """AUROC of a column of scores against some kinds of other boxes, with an interval over persons."""
    persons = sorted({row[0] for row in rows})
    yes = [row for row in rows if row[1] == "same"]
    no = [row for row in rows if row[1] in kinds]
    values = []
    for weights in (np.ones((1, len(persons))), person_weights(len(persons), draws, 0)):
        per = [
            auroc(
                np.array([row[column] for row in yes]),
                np.array([row[column] for row in no]),
                np.array([w[persons.index(row[0])] for row in yes]),
                np.array([w[persons.index(row[0])] for row in no]),
            )
            for w in weights
        ]
        values.append(np.array(per))
    low, high = percentile_interval(values[1])
    return {"auroc": values[0][0], "low": low, "high": high, "pairs": [len(yes), len(no)]}


def main() -> None:
    """Simulate, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ct", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--studies", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", default="small")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    config = FractureSampling(ct=str(given.ct), split=given.split, phantoms=0, seed=given.seed)
    config = replace(config, fracture=replace(config.fracture, severity=(0.0, 0.7)))
    pairs, matcher, rows = FracturePairs(config, given.cache), Matcher.load(given.weights), []
    for draw in tqdm(range(given.studies)):
        made = study(pairs, draw)
        if made is None:
            continue
        person, images, found = made
        matches = matcher.match(list(images))
        for kind, *both in found:
            shares = [patch_share(matches, view, box) for view, box in enumerate(both)]
            height = -abs(both[0][0] + both[0][2] - both[1][0] - both[1][2]) / 2
            feature = link_feature(matches.correspondence[0, 1], *shares)
            rows.append((person, kind, feature, height))
    features = np.array([[row[2], 1.0] for row in rows])
    same = np.array([row[1] == "same" for row in rows])
    if given.fit:
        counts = np.stack([~same / (~same).sum(), same / same.sum()])
        print("COEFFICIENTS =", fit_logistic(features, counts, (0.0, None)))
    report = {
        name: {
            kind: scored(rows, kinds, column)
            for kind, kinds in (
                *((k, (k,)) for k in KINDS),
                ("lesion or bone", KINDS[:2]),
                ("all", KINDS),
            )
        }
        for name, column in (("link", 2), ("same height", 3))
    }
    probability = 1 / (1 + np.exp(-features @ np.array(COEFFICIENTS)))
    report["said_of_same"], report["said_of_others"] = (
        float(probability[which].mean()) for which in (same, ~same)
    )
    report["persons"] = sorted({row[0] for row in rows})
    print(json.dumps(report, indent=1))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
