"""Sheets of real studies to look at: points asked for in one film, and their bands in the other.

    .venv/bin/python benchmarks/band_sheets.py films.json --out DIR [--weights small] [--studies NAME ...]

films.json is a file of labels (benchmarks/landmarks.py, benchmarks/wrists.py). Where places were labelled the first
three are asked for, and a ring shows where they truly lie; otherwise the places that match best at three heights. What
is drawn is the smallest region that holds the place nine times in ten.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from crossray.data.annotations import Study, read_labels
from crossray.data.radiographs import Radiograph, read_radiograph
from crossray.matching import Matcher, Matches

SIDE, ACROSS, DOWN = 256, 3, 5
COLOURS = ((255, 80, 60), (70, 220, 90), (80, 150, 255))
HEIGHTS = (0.25, 0.5, 0.75)


def asked(study: Study, views: tuple[str, str], matches: Matches) -> list[tuple]:
    """Up to three places (row, column) of the first film, and the true ones of the second where they are known."""
    labelled = [
        tuple(label.places[view].point for view in views)
        for label in study.labels
        if label.verdict == "same" and set(views) <= set(label.places)
    ]
    if labelled:
        return labelled[:: max(1, len(labelled) // 3)][:3]
    best = matches.correspondence[0, 1].amax(1)
    boxes = matches.patch_box[0]
    middles = torch.stack([(boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2], 1)
    rows = matches.image_size[0][0]
    places = []
    for height in HEIGHTS:
        near = (middles[:, 0] - height * rows).abs() < rows / 16
        place = middles[(best * near).argmax()]
        places.append(((float(place[0]), float(place[1])), None))
    return places


def panel(film: Radiograph) -> tuple[Image.Image, float]:
    """A film as a picture of at most SIDE pixels a side, and its scale."""
    scale = SIDE / max(film.pixels.shape)
    grey = Image.fromarray((film.pixels.numpy() * 255).astype(np.uint8))
    rows, columns = film.pixels.shape
    return grey.resize((round(columns * scale), round(rows * scale))).convert("RGB"), scale


def dot(picture: Image.Image, place: tuple[float, float], colour: tuple, ring: bool) -> None:
    """A dot or a ring at (row, column)."""
    row, column = place
    ends = [column - 4, row - 4, column + 4, row + 4]
    ImageDraw.Draw(picture).ellipse(ends, fill=None if ring else colour, outline=colour, width=2)


def pair_picture(
    study: Study, views: tuple[str, str], films: dict, matcher: Matcher
) -> Image.Image:
    """Two films beside each other."""
    matches = matcher.match([films[view] for view in views])
    (first, scale), (second, other) = (panel(films[view]) for view in views)
    tinted = np.asarray(second, dtype=np.float32)
    places = asked(study, views, matches)
    for colour, (place, _) in zip(COLOURS, places, strict=False):
        region = matches.region(0, place, coverage=0.9)[1].float().numpy()
        mask = Image.fromarray((region * 255).astype(np.uint8)).resize(second.size)
        share = np.asarray(mask, dtype=np.float32)[..., None] / 255 * 0.35
        tinted = tinted * (1 - share) + np.array(colour) * share
    second = Image.fromarray(tinted.astype(np.uint8))
    for colour, (place, true) in zip(COLOURS, places, strict=False):
        dot(first, tuple(scale * each for each in place), colour, ring=False)
        if true is not None:
            dot(second, tuple(other * each for each in true), colour, ring=True)
    picture = Image.new("RGB", (2 * SIDE + 12, SIDE + 18))
    picture.paste(first, (0, 16))
    picture.paste(second, (SIDE + 4, 16))
    title = f"{study.study}  {views[0]} > {views[1]}  related {matches.related(0, 1):.2f}"
    ImageDraw.Draw(picture).text((2, 2), title, fill=(230, 230, 230))
    return picture


def main() -> None:
    """Draw the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default="small")
    parser.add_argument("--studies", nargs="*", help="only these")
    given = parser.parse_args()
    matcher = Matcher.load(given.weights)
    pictures = []
    for study in read_labels(given.films).studies:
        if given.studies and study.study not in given.studies:
            continue
        folder = given.films.parent
        films = {view: read_radiograph(folder / film.file) for view, film in study.films.items()}
        pictures += [pair_picture(study, views, films, matcher) for views in combinations(films, 2)]
    given.out.mkdir(parents=True, exist_ok=True)
    size = pictures[0].size
    for number, start in enumerate(range(0, len(pictures), ACROSS * DOWN)):
        batch = pictures[start : start + ACROSS * DOWN]
        sheet = Image.new("RGB", (ACROSS * size[0], -(-len(batch) // ACROSS) * size[1]))
        for i, picture in enumerate(batch):
            sheet.paste(picture, (i % ACROSS * size[0], i // ACROSS * size[1]))
        sheet.save(given.out / f"sheet-{number:02}.png")
    print(f"{len(pictures)} pairs of films: {given.out}")


if __name__ == "__main__":
    main()
