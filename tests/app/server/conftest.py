"""A server on loopback with weights that have learned nothing, films to send it, and a browser to look at it."""

import base64
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

SLOWED = """([words, answer]) => {
  const fetched = window.fetch;
  window.fetch = async (path, options) => {
    if (!path.includes(words)) return fetched(path, options);
    await new Promise(done => setTimeout(done, 300));
    return answer ? new Response(JSON.stringify(answer.body), { status: answer.status }) : fetched(path, options);
  };
}"""
"""Delays what goes to a path by 300 ms, and answers it, if an answer is given."""


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


@pytest.fixture(scope="session")
def chromium(browser_path):
    """A headless chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def rendering(tmp_path_factory):
    """Two radiographs of a phantom knee with their truth, as `crossray render` writes them."""
    from crossray.app.commands.render import Geometry, render
    from crossray.volumes.phantom import phantom

    folder = tmp_path_factory.mktemp("rendering") / "knee"
    render(phantom("knee", 0, 3.0), Geometry(size=256), 0, folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, rendering, running):
    """The bundled weights, asked about the rendering."""
    from crossray.app.server.folders import studies_in

    with running(tmp_path_factory.mktemp("labels"), ["small"], studies_in([rendering])) as client:
        yield client


class Page:
    """The page with what a person does to it; whatever goes wrong in it is kept."""

    def __init__(self, browser, url, size=(1280, 800), **options):
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, **options
        )
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on(
            "console", lambda line: self.wrong.append(line.text) if line.type == "error" else None
        )
        self.page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((url, "blob:", "data:"))
                else self.wrong.append(request.url)
            ),
        )
        self.page.goto(url)

    def ready(self):
        self.page.locator("#status").filter(has_text="For research").wait_for()
        return self

    def at(self, view, row, column):
        """Where a place of a film lies in the window."""
        return self.page.evaluate(
            """([view, row, column]) => {
                 const film = crossray.state.films[view], box = film.over.getBoundingClientRect();
                 const [x, y] = film.toScreen(row, column);
                 return [box.left + x, box.top + y];
               }""",
            [view, row, column],
        )

    def point(self, view, row, column):
        self.page.mouse.move(*self.at(view, row, column))

    def click(self, view, row, column):
        self.page.mouse.click(*self.at(view, row, column))

    def says(self, view):
        return self.page.locator(".says").nth(view).inner_text()

    def made(self, reader):
        """The labels a reader has made of the study on the stage."""
        said = self.page.evaluate(
            "fetch(`api/studies/${crossray.state.study.id}/labels`).then(said => said.json())"
        )
        return [label for label in said["labels"] if label["reader"] == reader]

    def canvas(self, view, kind):
        """A film's canvas as numbers (row, column, rgba), at a pixel a CSS pixel."""
        box = self.page.evaluate(
            """([view, kind]) => {
                 const canvas = crossray.state.films[view][kind], { width, height } = canvas;
                 const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                 return [height, width, btoa(Array.from(data, byte => String.fromCharCode(byte)).join(""))];
               }""",
            [view, kind],
        )
        return np.frombuffer(base64.b64decode(box[2]), np.uint8).reshape(box[0], box[1], 4)

    def close(self):
        self.context.close()


def opened(browser, client):
    """The page, watched until it is left for errors and for requests to anyone else."""
    page = Page(browser, str(client.base_url)).ready()
    yield page
    page.close()
    assert not page.wrong


@pytest.fixture
def page(chromium, server):
    """The page on the rendering."""
    yield from opened(chromium, server)


@pytest.fixture(scope="module")
def noise(tmp_path_factory, weights, running):
    """A study of three films of noise, and one of two."""
    from crossray.app.server.folders import studies_in

    folder = tmp_path_factory.mktemp("noise")
    for name in ("three/a", "three/b", "three/c", "two/x", "two/y"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.png").write_bytes(draw_png(sum(name.encode())))
    with running(folder, [weights], studies_in([folder])) as client:
        yield client


@pytest.fixture
def three(chromium, noise):
    """The page on the study of three films."""
    yield from opened(chromium, noise)


@pytest.fixture(scope="session")
def visit():
    """`Page`."""
    return Page


@pytest.fixture(scope="session")
def slowed():
    """`SLOWED`."""
    return SLOWED
