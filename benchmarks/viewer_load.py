"""How the viewer's server bears readers: clients that hover at a reader's pace while others upload.

Run: python benchmarks/viewer_load.py [--hovering 50] [--uploading 5] [--seconds 20] [--json FILE]

Each hovering client asks for the bands of a new point four times a second; each uploading one sends two films of
1024 x 768 pixels in 16 bits, removes the study, and does it again. The bundled weights answer. The page itself asks
nothing while one hovers, as it holds the matrix: what is measured here is the API.
"""

import argparse
import asyncio
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

PACE = 0.25
"""Seconds between two points of a reader."""


def film(seed: int, size: tuple[int, int] = (1024, 768)) -> bytes:
    """A smooth film, 16 bits."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.random((32, 24)).astype(np.float32))
    grey = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC)).clip(0, 1)
    file = io.BytesIO()
    Image.fromarray((grey * 65535).astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def form(seed: int) -> tuple[bytes, str]:
    """Two films as the body of a form, and its type."""
    films = [("films", (f"{view}.png", film(seed + n))) for n, view in enumerate(("ap", "lat"))]
    request = httpx.Request("POST", "http://films", files=films)
    return request.read(), request.headers["content-type"]


class Client:
    """One reader's connection, kept open. A library's client takes more of the machine than the server does."""

    def __init__(self, url: str) -> None:
        self.host = url.removeprefix("http://").rstrip("/")

    async def __aenter__(self) -> "Client":
        host, port = self.host.rsplit(":", 1)
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple:
        """Status and content."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Origin: http://{self.host}"]
        lines += [f"Content-Length: {len(body)}"] + [f"Content-Type: {kind}"] * bool(kind)
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length: ")[2].split("\r\n")[0]
        content = await self.reader.readexactly(int(length)) if length else b""
        return int(head.split()[1]), content


async def hover(url, study, seed, until, times, wrong):
    rng = np.random.default_rng(seed)
    async with Client(url) as client:
        await asyncio.sleep(PACE * rng.random())
        while time.perf_counter() < until:
            place = f"view=0&row={rng.uniform(0, 1023):.1f}&column={rng.uniform(0, 767):.1f}"
            began = time.perf_counter()
            status, content = await client.ask("GET", f"/api/studies/{study}/bands?{place}")
            times.append(time.perf_counter() - began)
            if status != 200:
                wrong.append(content)
            await asyncio.sleep(max(0.0, PACE - times[-1]))


async def upload(url, files, until, times, wrong):
    async with Client(url) as client:
        while time.perf_counter() < until:
            began = time.perf_counter()
            status, content = await client.ask("POST", "/api/studies", *files)
            times.append(time.perf_counter() - began)
            if status != 201:
                wrong.append(content)
                continue
            await client.ask("DELETE", f"/api/studies/{json.loads(content)['id']}")


async def measure(url: str, hovering: int, uploading: int, seconds: float) -> dict:
    """Latencies of both kinds in milliseconds, and how many requests failed."""
    async with Client(url) as client:
        study = json.loads((await client.ask("POST", "/api/studies", *form(0)))[1])["id"]
        await client.ask("GET", f"/api/studies/{study}/matches")
    hovers, uploads, wrong = [], [], []
    forms = [form(10 * n + 10) for n in range(uploading)]
    until = time.perf_counter() + seconds
    work = [hover(url, study, n, until, hovers, wrong) for n in range(hovering)]
    work += [upload(url, each, until, uploads, wrong) for each in forms]
    await asyncio.gather(*work)
    return {"hover": summary(hovers), "upload": summary(uploads), "errors": len(wrong)}


def summary(times: list[float]) -> dict:
    if not times:
        return {"requests": 0}
    ms = np.array(times) * 1000
    median, p95, most = np.quantile(ms, [0.5, 0.95, 1.0]).round(1).tolist()
    return {"requests": len(times), "median_ms": median, "p95_ms": p95, "max_ms": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hovering", type=int, default=50)
    parser.add_argument("--uploading", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    command = [sys.executable, "-m", "crossray.app.cli", "view", "--port", "0", "--no-browser"]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().split("Open ")[1].strip()
            for _ in range(100):
                try:
                    httpx.get(f"{url}api/health", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            busy = os.getloadavg()[0]
            found = asyncio.run(measure(url, given.hovering, given.uploading, given.seconds))
        finally:
            server.terminate()
            server.wait(20)
    found |= {"hovering": given.hovering, "uploading": given.uploading, "load_before": busy}
    found |= {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "python": platform.python_version(),
    }
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
