"""Boxes linked across views: by hand, and what holds for every matrix."""

import json
import math

import pytest
import torch

from crossray.errors import InputError
from crossray.matching.link import (
    Detections,
    link_boxes,
    link_feature,
    links_json,
    patch_share,
    read_detections,
)
from crossray.matching.matches import Matches
from crossray.matching.preprocess import Field


def matches_of(block, views=2):
    """Matches of films of 4 x 4 pixels in patches of 2 x 2."""
    matrix = torch.zeros(views, views, 4, 4)
    for k in range(views):
        for m in range(k + 1, views):
            matrix[k, m], matrix[m, k] = block, block.T
    names = ("AP", "LAT", "OBL")[:views]
    whole = (Field(0.0, 0.0, 4.0, 4.0),) * views
    return Matches(matrix, (2, 2), whole, tuple(torch.rand(views, 4, 4)), names, "by hand")


TOP, BOTTOM = (0, 0, 2, 4), (2, 0, 4, 4)


def test_a_box_is_spread_over_its_patches():
    share = patch_share(matches_of(torch.eye(4)), 0, (0, 1, 2, 4))
    assert share.tolist() == pytest.approx([1 / 3, 2 / 3, 0, 0])


def test_features_by_hand():
    block = torch.tensor([[0.8, 0.2], [0.1, 0.1]])
    own, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert link_feature(block, own, own) == pytest.approx(0, abs=1e-6)  # the best place both ways
    expected = math.log(0.2) - 0.5 * (math.log(0.8) + math.log(0.2))
    assert link_feature(block, own, other) == pytest.approx(expected, abs=1e-3)


def test_boxes_are_linked_as_the_matrix_says():
    links = link_boxes(matches_of(torch.eye(4)), [[TOP, BOTTOM], [BOTTOM, TOP]])
    probability = {(pair.first[1], pair.second[1]): pair.probability for pair in links.pairs}
    assert (
        min(probability[0, 1], probability[1, 0]) > 0.5 > max(probability[0, 0], probability[1, 1])
    )
    assert links.lesions == (((0, 0), (1, 1)), ((0, 1), (1, 0)))


def test_order_of_views_does_not_matter():
    block = torch.rand(4, 4)
    there = link_boxes(matches_of(block), [[TOP, BOTTOM], [TOP]])
    back = link_boxes(matches_of(block.T), [[TOP], [TOP, BOTTOM]])
    assert [pair.probability for pair in there.pairs] == pytest.approx(
        [pair.probability for pair in back.pairs]
    )


def test_a_lesion_has_one_box_a_view_and_some_have_no_partner():
    links = link_boxes(matches_of(torch.eye(4), views=3), [[TOP], [TOP, TOP], [BOTTOM]])
    assert sorted(len(lesion) for lesion in links.lesions) == [1, 1, 2]
    assert sorted(box for lesion in links.lesions for box in lesion) == [
        (0, 0),
        (1, 0),
        (1, 1),
        (2, 0),
    ]
    assert link_boxes(matches_of(torch.eye(4)), [[TOP], []]).lesions == (((0, 0),),)


def test_files_of_boxes(tmp_path):
    path = tmp_path / "boxes.json"
    first = {"file": "a.png", "boxes": [{"box": TOP, "score": 0.9}]}
    path.write_text(json.dumps({"views": [first, {"file": "b.png", "boxes": [{"box": TOP}]}]}))
    found = read_detections(path)
    matches = matches_of(torch.eye(4))
    links = link_boxes(matches, [[each.box for each in view.boxes] for view in found.views])
    told = json.loads(links_json(matches, found, links))
    assert told["lesions"][0][0] == {"view": "AP", "number": 0, "box": [0, 0, 2, 4], "score": 0.9}
    assert told["pairs"][0]["probability"] > 0.5
    path.write_text('{"views": [{"file": "a.png", "boxes": [{"box": [1, 2]}]}]}')
    with pytest.raises(InputError, match=r"views.0.boxes.0.box"):
        read_detections(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_detections(tmp_path / "none.json")


def test_bad_boxes_are_refused():
    matches = matches_of(torch.eye(4))
    with pytest.raises(InputError, match="no area on LAT"):
        link_boxes(matches, [[TOP], [(3, 3, 3, 4)]])
    with pytest.raises(InputError, match="1 lists"):
        link_boxes(matches, [[TOP]])
    assert Detections(views=()).views == ()
