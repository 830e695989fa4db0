"""Pixels out of DICOM's encodings, by decoders that survive damaged streams.

A stream is decoded only where its own header agrees with the file's: a few bytes can else ask for gigabytes. gdcm would
decode most encodings, but ends the whole process on some damaged ones, so it is left the one nobody else decodes.
CharLS (JPEG-LS) may take half a minute to give up.
"""

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossray.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_PIXELS = 100_000_000
"""Images beyond 100 megapixels are refused before they are decoded: no radiograph is that large."""

_DECODERS = {
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51": "pillow",  # JPEG Extended, of 8 bits alone
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # High-Throughput JPEG 2000
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
}
_SMALL_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}  # markers of JPEG and JPEG-LS that tell the size
_DEFLATED = "1.2.840.10008.1.2.1.99"


def decode(dataset: "Dataset", path: Path) -> np.ndarray:
    """Stored pixel values, decompressed.

    Args:
        dataset: With pixels.
        path: Its file, for messages.

    Raises:
        InputError: An encoding without a decoder, several frames, or a stream of another size than the file says.
            What else decoders raise on damaged streams is left to the caller.
    """
    from pydicom.encaps import generate_frames
    from pydicom.pixels.utils import pixel_array

    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None or not syntax.is_compressed or syntax == _DEFLATED:
        return dataset.pixel_array
    for table in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        dataset.pop(table, None)  # else the decoder may look at another stream than was checked
    rows, columns = dataset.Rows, dataset.Columns
    try:
        decoder = _DECODERS[str(syntax)]
        stream, *more = generate_frames(dataset.PixelData, number_of_frames=1)
        if decoder != "pydicom":  # streams of RLE do not tell their size
            rows, columns = _stream_size(stream)
        if not more and (rows, columns) == (dataset.Rows, dataset.Columns):
            return pixel_array(dataset, decoding_plugin=decoder)
    except Exception as error:
        raise InputError(
            f"{path} is encoded as {syntax.name} and cannot be decoded here; convert it to an uncompressed or"
            " losslessly compressed transfer syntax (for example with gdcmconv --raw or dcmdjpeg)."
        ) from error
    if more:
        raise InputError(f"{path} holds {1 + len(more)} frames; give one still image a view.")
    raise InputError(
        f"{path} is damaged: its header says {dataset.Rows} x {dataset.Columns} pixels and its image"
        f" {rows} x {columns}; copy or export it again."
    )


def _stream_size(stream: bytes) -> tuple[int, int]:
    """Rows and columns by the header of a JPEG, JPEG-LS or JPEG 2000 stream; ValueError where it has none."""
    if (
        stream[:4] == b"\xff\x4f\xff\x51"
    ):  # JPEG 2000: sizes of the reference grid, then its offsets
        right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
        return bottom - top, right - left
    at = 2
    while stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker in _SMALL_FRAMES:
            rows, columns = struct.unpack_from(">HH", stream, at + 5)
            return rows, columns
        at += 2 + struct.unpack_from(">H", stream, at + 2)[0]
    raise ValueError("the stream does not tell its size")


class DicomFile(io.BufferedReader):
    """A file for pydicom, which reads the rest of one, without saying how much, to inflate it; a bomb is refused then.

    Raises:
        InputError: It holds more than any radiograph.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.path = path

    def read(self, size: int | None = -1, /) -> bytes:
        """See io.BufferedReader."""
        content = super().read(size)
        if size is None or size < 0:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            inflate.decompress(content, 3 * MAX_PIXELS)
            if inflate.unconsumed_tail:
                raise InputError(
                    f"{self.path} inflates to more than any radiograph; export it uncompressed."
                )
        return content
