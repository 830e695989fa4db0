"""The process that decodes films: reads a path a line from stdin, answers in JSON a line, and may use little memory.

Whatever a file does to a decoder, it does it here: not to the server, and within the limits set by the command line.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from crossray.data.radiographs import read_radiograph
from crossray.errors import InputError


def main() -> None:
    """Decode until stdin ends."""
    _limit(int(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        film, out = map(Path, json.loads(line))
        print(json.dumps(decode(film, out)), flush=True)


def decode(film: Path, out: Path) -> dict[str, Any]:
    """Read a film, write its grey values as 16 bits (little-endian, row-major), and say what it is."""
    try:
        radiograph = read_radiograph(film)
        values = (radiograph.pixels.numpy() * np.float32(65535)).round().astype("<u2")
        values.tofile(out)
    except InputError as error:
        if isinstance(error.__cause__, MemoryError):
            return {"memory": True}
        return {"error": str(error)}
    except MemoryError:
        return {"memory": True}
    return {
        "size": radiograph.pixels.shape,
        "pixel_mm": radiograph.pixel_mm,
        "pixel_mm_kind": radiograph.pixel_mm_kind,
        "view": radiograph.view,
        "laterality": radiograph.laterality,
    }


def _limit(extra: int) -> None:
    """Let this process take no more than so many bytes beyond what its libraries took; POSIX only."""
    try:
        import resource
    except ImportError:  # Windows: the time limit alone
        return
    os.nice(10)  # who hovers comes first
    statm = Path("/proc/self/statm")
    taken = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (taken + extra, taken + extra))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
