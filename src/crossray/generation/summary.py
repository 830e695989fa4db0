"""What stands beside the shards of a finished set: manifest, card, statistics, preview; the same bytes each time."""

import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crossray.data.shards import MANIFEST, read_sample
from crossray.data.store import Store
from crossray.generation.plan import Plan
from crossray.generation.work import Record

_SHOWN, _GAP = 12, 2  # samples of the preview, and pixels of the line around each


def summarise(plan: Plan, records: Sequence[Record], store: Store) -> None:
    """Write all that stands beside the shards; the manifest last, as it says that the set is finished."""
    statistics = _statistics(records)
    store.write("statistics.json", _json(statistics))
    store.write("README.md", _card(plan, statistics).encode())
    store.write("preview.png", _preview(records, store))
    tree = json.loads(plan.to_json())
    store.write(MANIFEST, _json({**tree, "shards": list(records)}))


def _statistics(records: Sequence[Record]) -> dict[str, Any]:
    """Counts and means over all samples, and by split."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups["all"].append(record)
        groups[f"split {record['split'] or 'none'}"].append(record)
    return {name: _totals(group) for name, group in groups.items()}


def _totals(records: Sequence[Record]) -> dict[str, Any]:
    samples = sum(record["samples"] for record in records)
    size = sum(record["bytes"] for record in records)
    return {
        "samples": samples,
        "people": len({record["person"] for record in records}),
        "volumes": len({record["volume"] for record in records}),
        "bytes": size,
        "bytes_per_sample": round(size / samples),
        **{
            name: round(sum(record[name] * record["samples"] for record in records) / samples, 6)
            for name in ("positive", "grey")
        },
    }


def _card(plan: Plan, statistics: dict[str, Any]) -> str:
    """README.md of the set."""
    groups = "\n".join(
        f"| {name} | {each['samples']} | {each['people']} | {each['volumes']} | {each['bytes'] / 1e6:.1f} | "
        f"{each['positive']:.4f} |"
        for name, each in statistics.items()
    )
    volumes = "\n".join(
        f"| {volume.name} | {volume.person} | {volume.split or ''} | {volume.terms or 'not stated'} |"
        for volume in plan.volumes
    )
    refused = "".join(f"\n- {name}: {reason}" for name, reason in plan.refused.items())
    sample = plan.config.sample
    size = " x ".join(map(str, sample.views.size))
    return f"""# Radiographs rendered from CT, and which of their patches match

{plan.config.samples} samples of {sample.views.views} views of {size} pixels, protocol `{sample.views.protocol}`,
patches of {sample.patch} pixels, `{sample.definition}` truth, seed {plan.config.seed}. Made by crossray {plan.code}
(`crossray generate`); the same CTs, seed and version give the same bytes.

Shards are tar files in WebDataset's layout. `KEY.0.png`, `KEY.1.png`, ...: views, 16 bits, bone bright.
`KEY.matrix.npz`: for every two views k < l which pairs of patches match, `index` = p * patches + q, and how well,
`value`; those of each two views begin at `start`. `KEY.json`: the cameras, the CT and everything drawn.
`manifest.json` has a checksum of each shard. A shard holds one person's samples; split by person.

| | samples | people | volumes | MB | pairs of patches that match (C > 0.2) |
|---|---|---|---|---|---|
{groups}

| CT | person | split | terms |
|---|---|---|---|
{volumes}

Left out:{refused or " nothing."}
"""


def _preview(records: Sequence[Record], store: Store) -> bytes:
    """The first samples of shards spread over the set, one a row of views."""
    chosen = np.unique(np.linspace(0, len(records) - 1, min(_SHOWN, len(records))).astype(int))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for place in chosen:
            shard = store.fetched(records[place]["name"], Path(scratch))
            views = read_sample(shard, 0)["images"].numpy()
            rows.append(np.pad(np.concatenate(list(views), axis=1), _GAP, constant_values=1))
    half = -(-len(rows) // 2)
    rows += [np.zeros_like(rows[0])] * (2 * half - len(rows))
    page = np.block([[rows[row], rows[row + half]] for row in range(half)])
    out = io.BytesIO()
    Image.fromarray((page * 255).round().astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def _json(tree: dict[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()
