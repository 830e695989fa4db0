"""A server on loopback with weights that have learned nothing, films to send it, and a browser to look at it."""

import io
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def draw_png(seed: int, size: tuple[int, int] = (120, 80)) -> bytes:
    """A film of noise in 16 bits."""
    grey = np.random.default_rng(seed).integers(0, 65535, size).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


def write_dicom(name: str = "Doe^Jane") -> bytes:
    """A DICOM film that names a patient."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = (
        DigitalXRayImageStorageForPresentation,
        generate_uid(),
    )
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName, dataset.PatientID = name, "4711"
    dataset.ViewPosition, dataset.ImageLaterality = "AP", "L"
    dataset.ImagerPixelSpacing = [0.2, 0.2]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 64, 48, 1
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = np.arange(64 * 48, dtype="<u2").tobytes()
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def form(*contents: bytes, names: tuple[str, ...] = ("limb-ap.png", "limb-lat.png")) -> list:
    """The form of an upload."""
    names = (
        names if len(names) == len(contents) else tuple(f"{n}.png" for n in range(len(contents)))
    )
    return [("films", (name, content)) for name, content in zip(names, contents, strict=True)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def run_server(folder: Path, weights, given=(), limits=None, token=None, classifier=None):
    """A client of a server that runs in a thread of this process."""
    from crossray.app.server.application import create_app, listener
    from crossray.app.server.book import LabelBook
    from crossray.app.server.limits import Limits
    from crossray.app.server.security import Address
    from crossray.app.server.session import Session

    limits = limits or Limits()
    session = Session([str(name) for name in weights], given, limits, classifier)
    book = LabelBook(folder / "crossray-labels.json", limits)
    address = Address("127.0.0.1", free_port(), token)
    server = listener(create_app(session, book, str(weights[0])), address, session)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        url = f"http://127.0.0.1:{address.port}"
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            client.session, client.book = session, book
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        assert not session.folder.exists()


@pytest.fixture(scope="module")
def client(tmp_path_factory, weights):
    """A server shared by the tests of a file."""
    with run_server(tmp_path_factory.mktemp("labels"), [weights]) as started:
        yield started


@pytest.fixture
def study(client):
    """A study of two films of noise, as the server tells of it."""
    response = client.post("/api/studies", files=form(draw_png(1), draw_png(2, (90, 100))))
    assert response.status_code == 201, response.text
    yield response.json()
    client.delete(f"/api/studies/{response.json()['id']}")


@pytest.fixture
def png():
    """`draw_png`."""
    return draw_png


@pytest.fixture
def dicom():
    """`write_dicom`."""
    return write_dicom


@pytest.fixture
def films():
    """`form`."""
    return form


@pytest.fixture(scope="session")
def browser_path():
    """Debian's chromium; what needs it is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH (Debian: apt-get install chromium)")
    return CHROMIUM


@pytest.fixture(scope="session")
def running():
    """`run_server`."""
    return run_server
