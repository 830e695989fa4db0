"""Whom weights have learned from: kept with them, so that nobody is scored on it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from crossray.data.studies import Case, StudyData
from crossray.errors import InputError

_SIMULATED = "simulated"


class Seen(TypedDict):
    """People of one set.

    Args:
        kind: Which reader names them so, or `simulated` for people of CTs.
        sha256: Of the set's tables; empty for CTs.
        patients: Who was learned from.
        calibrated: Who calibrated the weights.
    """

    kind: str
    sha256: str
    patients: list[str]
    calibrated: list[str]


def seen_of(
    data: StudyData,
    learned: Iterable[Case],
    calibrated: Iterable[Case],
    simulated: Iterable[str] = (),
) -> list[Seen]:
    """What weights will have seen that learn from studies of a set, and from people of CTs."""
    films = Seen(
        kind=_kind(data),
        sha256=data.sha256,
        patients=sorted({case.patient for case in learned}),
        calibrated=sorted({case.patient for case in calibrated}),
    )
    people = Seen(kind=_SIMULATED, sha256="", patients=sorted(simulated), calibrated=[])
    return [each for each in (films, people) if each["patients"] or each["calibrated"]]


def _read_seen(metadata: Mapping[str, str]) -> list[Seen]:
    """What the words kept with weights tell of it; nothing where they are silent."""
    told = json.loads(metadata.get("seen", "[]"))
    every = [told] if isinstance(told, dict) else told  # one set alone was kept bare before
    return [
        Seen(
            kind=each["kind"],
            sha256=each["sha256"],
            patients=each["patients"],
            calibrated=each.get("calibrated", []),
        )
        for each in every
    ]


def learned_before(
    metadata: Mapping[str, str], held_back: Iterable[Case], data: StudyData, init: str
) -> list[Seen]:
    """Whom the weights that a training begins with have learned from.

    Args:
        metadata: Words kept with them.
        held_back: Studies that are to calibrate or test.
        data: Their set.
        init: What to call the weights.

    Raises:
        InputError: They have learned from somebody who is held back.
    """
    seen: list[Seen] = [{**each, "calibrated": []} for each in _read_seen(metadata)]
    known = {patient for each in _alike(seen, data) for patient in each["patients"]}
    if shared := known & {case.patient for case in held_back}:
        raise InputError(
            f"{init} has learned from patient {min(shared)} of {data.source}, who is held back here; begin with other "
            "weights, or split the patients as they did."
        )
    return seen


def unseen(cases: Sequence[Case], data: StudyData, metadata: Mapping[str, str]) -> list[Case]:
    """The studies of patients that weights have not seen.

    Of the set they were trained on these are its test patients; in any other set of the same kind nobody may be known.

    Raises:
        InputError: Nobody is left, another set names a patient who was trained on, or the weights do not tell.
    """
    if "seen" not in metadata:
        raise InputError(
            "These weights do not tell whom they have seen; train them with `crossray train classifier`."
        )
    patients = {case.patient for case in cases}
    known: set[str] = set()
    for seen in _alike(_read_seen(metadata), data):
        some = patients & {*seen["patients"], *seen["calibrated"]}
        if some and seen["sha256"] not in ("", data.sha256):
            raise InputError(
                f"Patient {min(some)} of {data.source} was trained on; take the patients of the training out of this "
                "set."
            )
        known |= some
    left = [case for case in cases if case.patient not in known]
    if not left:
        raise InputError(
            f"These weights have seen every patient of {data.source}; give other studies."
        )
    return left


def _kind(data: StudyData) -> str:
    return data.source.partition(":")[0]


def _alike(seen: Sequence[Seen], data: StudyData) -> list[Seen]:
    """The records whose names could be those of a set's patients."""
    return [each for each in seen if each["kind"] in (_kind(data), _SIMULATED)]
