"""`crossray link`: a detector's boxes in, lesions across views out."""

from dataclasses import replace
from pathlib import Path

from crossray.errors import InputError
from crossray.files import written_whole
from crossray.matching import Matcher
from crossray.matching.link import link_boxes, links_json, read_detections


def link(boxes: Path, weights: str, out: Path) -> None:
    """Match the films that a file of boxes names, link the boxes, and write and say what belongs together."""
    if out.is_dir():
        raise InputError(f"{out} is a folder; name the file for the links.")
    found = read_detections(boxes)
    matches = Matcher.load(weights).match([boxes.parent / view.file for view in found.views])
    named = zip(found.views, matches.names, strict=True)
    matches = replace(matches, names=tuple(view.name or name for view, name in named))
    links = link_boxes(matches, [[each.box for each in view.boxes] for view in found.views])
    with written_whole(out) as partial:
        partial.write_text(links_json(matches, found, links), encoding="utf-8")
    probability = {(link.first, link.second): link.probability for link in links.pairs}
    for number, lesion in enumerate(links.lesions):
        places = ", ".join(f"{matches.names[view]} box {box}" for view, box in lesion)
        sure = [p for ends, p in probability.items() if set(ends) <= set(lesion)]
        print(f"  lesion {number}: {places}" + (f" ({min(sure):.0%})" if sure else " (no partner)"))
    print(f"  {out}")
