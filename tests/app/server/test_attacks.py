"""Somebody tries: what does not belong is refused in a sentence, and the server lives on."""

import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from functools import partial
from pathlib import Path

import httpx
import pytest

from crossray.app.commands.view import view
from crossray.app.server.limits import Limits
from crossray.app.server.security import Address
from crossray.errors import InputError


def refused(response, code, *words):
    assert response.status_code == code, response.text
    detail = response.json()["detail"]
    assert all(word in detail for word in words), detail
    assert tempfile.gettempdir() not in detail
    return detail


def bomb(side):
    """A PNG of a few kilobytes that unfolds to side x side pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + side)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


SVG = (
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
)
HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.mark.parametrize(
    "content", [SVG, HTML, b"GIF89a\x01\0\x01\0", b"%!PS-Adobe-3.0 EPSF", b"", b"PK\3\4"]
)
@pytest.mark.parametrize("name", ["film.png", "film.dcm"])
def test_what_is_no_film_is_refused_whatever_its_name(client, films, png, content, name):
    response = client.post("/api/studies", files=films(content, png(1), names=(name, "b.png")))
    refused(response, 400, "film")
    assert client.get("/api/studies").json() == []


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_films_are_refused(client, films, png, dicom, share):
    for whole in (png(1), dicom()):
        cut = whole[: int(len(whole) * share)]
        response = client.post(
            "/api/studies", files=films(cut, png(2), names=("x-a.png", "x-b.png"))
        )
        refused(response, 400, "x-a.png")
    assert client.post("/api/studies", files=films(png(1), png(2))).status_code == 201
    client.delete(f"/api/studies/{client.get('/api/studies').json()[0]['id']}")


def test_bombs_do_not_go_off(client, films, png):
    content = bomb(20000)
    assert len(content) < 500_000
    response = client.post("/api/studies", files=films(content, png(1), names=("b.png", "c.png")))
    refused(response, 400, "b.png", "megapixels")


def test_memory_and_time_are_bounded(tmp_path, running, weights, films, png):
    content, small = bomb(9000), Limits(decode_bytes=300 * 2**20)
    with running(tmp_path, [weights], limits=small) as client:
        response = client.post("/api/studies", files=films(content, png(1)))
        refused(response, 400, "limb-ap.png", "300 MB")
        assert client.post("/api/studies", files=films(png(1), png(2))).status_code == 201
    with running(tmp_path, [weights], limits=Limits(decode_seconds=0.05)) as client:
        response = client.post("/api/studies", files=films(content, png(1)))
        refused(response, 400, "limb-ap.png", "0.05 s")
        assert client.get("/api/health").status_code == 200


def test_sizes_and_counts_are_bounded(tmp_path, running, weights, films, png):
    limits = Limits(film_bytes=30_000, films=3, studies=1)
    with running(tmp_path, [weights], limits=limits) as client:
        refused(client.post("/api/studies", files=films(png(1))), 400, "2 to 3 films")
        four = client.post("/api/studies", files=films(*map(png, range(4))))
        refused(four, 400, "3")
        large = client.post("/api/studies", files=films(png(1, (150, 150)), png(2)))
        refused(large, 413, "larger" if len(png(1, (150, 150))) > 90_000 else "film")
        huge = client.post("/api/studies", files=films(bytes(400_000), png(2)))
        refused(huge, 413, "larger")
        assert client.post("/api/studies", files=films(png(1), png(2))).status_code == 201
        refused(client.post("/api/studies", files=films(png(1), png(2))), 400, "remove one")
        words = client.put("/api/studies/x/person", content=bytes(2**20 + 1))
        refused(words, 413, "larger")
        assert sum(path.is_dir() for path in client.session.folder.iterdir()) == 1


def test_a_body_without_a_length_is_cut_off(tmp_path, running, weights):
    limits = Limits(film_bytes=1000, films=2)
    with running(tmp_path, [weights], limits=limits) as client:
        head = b'--x\r\nContent-Disposition: form-data; name="films"; filename="a.png"\r\n\r\n'

        def endless():
            yield head
            for _ in range(2000):
                yield bytes(1000)

        form = {"content-type": "multipart/form-data; boundary=x"}
        response = client.post("/api/studies", content=endless(), headers=form)
        assert response.status_code == 413
        assert client.get("/api/health").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server/api.py",
        "/static/%2e%2e/server/api.py",
        "/static/..%2f..%2f__init__.py",
        "/static//etc/passwd",
        "/api/studies/..%2f..%2f/films/0",
        "/api/studies/%2e%2e/films/0",
        "/api/studies/x/films/..%2f0",
        "/docs",
        "/redoc",
    ],
)
def test_no_path_leads_out(client, path):
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert client.send(request).status_code in (404, 422)


def test_names_from_outside_are_only_words(client, films, png, tmp_path):
    names = ("../../../etc/evil.png", "C:\\evil\\<b>x\0\n.png")
    response = client.post(
        "/api/studies", files=films(png(1), png(2), names=names), data={"name": "../../up"}
    )
    study = response.json()
    assert study["name"] == "up"
    assert study["films"][0]["file"] == "evil.png"
    folder = client.session.folder / study["id"]
    assert sorted(path.name for path in folder.iterdir()) == ["0", "0.u16", "1", "1.u16"]
    client.delete(f"/api/studies/{study['id']}")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1",
        "127.0.0.1:1",
        "",
        "127.0.0.1:",
        "127.0.0.1:²",
    ],
)
def test_another_name_of_this_server_is_not_answered(client, host):
    response = client.get("/api/studies", headers={"host": host.encode("latin-1")})
    refused(response, 421, "its own address")
    assert "default-src 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "https://localhost.evil.example",
        "https://127.0.0.1:80",
    ],
)
def test_other_pages_cannot_change_anything(client, films, png, origin):
    response = client.post("/api/studies", files=films(png(1), png(2)), headers={"origin": origin})
    refused(response, 403, "another page")
    delete = client.delete("/api/studies/x", headers={"origin": origin})
    assert delete.status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_cannot_read(client, site):
    refused(client.get("/api/studies", headers={"sec-fetch-site": site}), 403, "another site")


def test_its_own_page_can(client, films, png):
    own = {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    response = client.post("/api/studies", files=films(png(1), png(2)), headers=own)
    assert response.status_code == 201
    client.delete(f"/api/studies/{response.json()['id']}", headers=own)


def test_every_answer_carries_the_policy(client):
    for path in ("/", "/static/main.js", "/api/health", "/api/studies/none", "/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_a_token_is_asked_for(tmp_path, running, weights):
    with running(tmp_path, [weights], token="secret-token") as client:
        for path in ("/", "/api/studies", "/static/main.js", "/openapi.json"):
            refused(client.get(path), 401, "token")
        assert client.get("/?token=wrong").status_code == 401
        wrong = {"authorization": "Bearer wrong"}
        assert client.get("/api/health", headers=wrong).status_code == 401
        right = {"authorization": "Bearer secret-token"}
        assert client.get("/api/health", headers=right).status_code == 200
        entered = client.get("/?token=secret-token")
        assert entered.status_code == 303
        assert "HttpOnly; SameSite=Strict" in entered.headers["set-cookie"]
        assert client.get("/api/health").status_code == 200  # by the cookie


@pytest.mark.parametrize(
    ("host", "named", "others"),
    [
        (
            "127.0.0.1",
            ["localhost:80", "127.0.0.1:80", "[::1]:80", "127.0.0.1", "localhost", "[::1]"],
            ["10.0.0.1:80", "x:80", "x", "127.0.0.1:", "127.0.0.1:8²", "::1", ""],
        ),
        ("10.0.0.1", ["10.0.0.1:80"], ["localhost:80", "10.0.0.2:80", "10.0.0.1:81"]),
        ("0.0.0.0", ["10.0.0.1:80", "localhost:80", "10.0.0.1"], ["evil.example:80", ""]),
    ],
)
def test_which_names_are_its_own(host, named, others):
    address = Address(host, 80)
    assert all(map(address.names, named))
    assert not any(map(address.names, others))


@pytest.mark.parametrize("token", ["", "two words", "a;b", "ä", "a\n"])
def test_a_token_that_is_no_word_is_refused(monkeypatch, token):
    monkeypatch.setenv("CROSSRAY_TOKEN", token)
    with pytest.raises(InputError, match="CROSSRAY_TOKEN may hold letters"):
        view([], ["none"], "", None, "0.0.0.0", 0, False)


def test_labels_that_cannot_be_kept_are_refused_at_the_start(tmp_path):
    with pytest.raises(InputError, match="its folder does not exist"):
        view([], ["none"], "", tmp_path / "none" / "labels.json", "127.0.0.1", 0, False)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_no_patient_is_named_and_nothing_is_left(tmp_path, films, dicom, weights, name):
    """The real command, ended as a service manager ends it, or by closing the terminal."""
    if not hasattr(signal, name):
        pytest.skip(f"needs {name}")
    environment = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[3] / "src")
    command = [sys.executable, "-m", "crossray.app.cli", "view", "--port", "0", "--no-browser"]
    # Whoever runs the tests under nohup has them ignore the terminal's end; the program must not inherit that.
    heed = partial(signal.signal, getattr(signal, name), signal.SIG_DFL)
    process = subprocess.Popen(
        [*command, "--weights", str(weights)], cwd=tmp_path, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=heed,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        url = line.split("Open ")[1].strip()
        with httpx.Client(
            base_url=url, timeout=60, trust_env=False, transport=httpx.HTTPTransport(retries=8)
        ) as client:
            body = films(dicom(), dicom("Roe^Richard"), names=("Doe-Jane.dcm", "Roe.dcm"))
            study = client.post("/api/studies", files=body)
            assert study.status_code == 201, study.text
            film = study.json()["films"][0]
            assert (film["projection"], film["laterality"], film["pixel_mm_kind"]) == (
                "AP",
                "L",
                "detector",
            )
            assert (
                client.post("/api/studies", files=films(dicom()[:500], dicom())).status_code == 400
            )
            assert list(tmp_path.glob("crossray-view-*"))
    finally:
        process.send_signal(getattr(signal, name))
        printed = line + process.communicate(timeout=30)[0]
    assert not list(tmp_path.glob("crossray-view-*"))
    assert not any(word in printed for word in ("Doe", "Jane", "Roe", "4711", "Traceback")), printed
