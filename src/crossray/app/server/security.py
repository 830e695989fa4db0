"""Who may ask, and what the page may do: checked before anything else sees a request.

A page of another site must neither read nor change anything here, by name rebinding or by forged forms: the Host has
to be this server's own, and whatever is not plain reading has to come from its own page. On another address than
loopback every request needs a token besides.
"""

import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "crossray"
HTTP = 80
"""The port that is meant where none is named."""
UPLOADS = "/api/studies"
"""The one path that takes films."""
WORDS = 2**20
"""Bytes of the body of any other request."""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Args:
        host: Name or address.
        port: TCP port.
        token: What every request must show; None on loopback.
    """

    host: str
    port: int
    token: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return self.host == "localhost" or (_is_ip(self.host) and _ip(self.host).is_loopback)

    def names(self, host: str) -> bool:
        """Whether a Host header, or what follows the scheme of an Origin, names this server."""
        parts = re.fullmatch(r"(\[.*\]|[^:]*)(?::([0-9]{1,5}))?", host)
        if parts is None or int(parts[2] or HTTP) != self.port:
            return False
        name = parts[1].strip("[]").lower()
        if self.loopback:
            return name in {"localhost", "127.0.0.1", "::1", self.host}
        if (
            _is_ip(self.host) and _ip(self.host).is_unspecified
        ):  # all addresses: any of them, no other's name
            return _is_ip(name) or name in {"localhost", socket.gethostname().lower()}
        return name == self.host.lower()


class Guard:
    """Lets through what belongs here, bounds every body, and puts the page's policy on every answer.

    Args:
        app: Who answers.
        address: Where the server listens.
        most_bytes: Of an upload's body.
    """

    def __init__(self, app: App, address: Address, most_bytes: int) -> None:
        self._app, self._address, self._most = app, address, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = [(k, v) for k, v in message["headers"] if k.decode().lower() not in HEADERS]
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*known, *ours]}
            await send(message)

        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        token = self._asked_token(scope)
        if token and self._good(token) and scope["path"] == "/":
            await _answer(sealed, 303, "", {"location": "/", "set-cookie": self._cookie(token)})
        elif refusal := self._refusal(scope["method"], scope["path"], headers):
            await _answer(sealed, *refusal)
        else:
            await self._app(scope, _bounded(receive, self._room(scope["path"])), sealed)

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        if not self._address.names(headers.get("host", "")):
            return 421, "This server answers to its own address only; open it as it was printed."
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        own = origin is None or self._address.names(origin.removeprefix("http://"))
        if not own and method not in ("GET", "HEAD"):
            return 403, "This request comes from another page and was refused."
        if site not in ("none", "same-origin") and path != "/":
            return 403, "This request comes from another site and was refused."
        if self._address.token and not self._known(headers):
            return 401, "This server needs its token; open the address as it was printed."
        most, length = self._room(path), headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            return 413, f"The request is larger than {most >> 20} MB, the most taken at once."
        return None

    def _asked_token(self, scope: Scope) -> str | None:
        found = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        return found[0] if found else None

    def _known(self, headers: dict[str, str]) -> bool:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._good(bearer):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._good(cookie.value)

    def _good(self, token: str) -> bool:
        known = self._address.token
        return known is not None and secrets.compare_digest(token.encode(), known.encode())

    def _cookie(self, token: str) -> str:
        return f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"

    def _room(self, path: str) -> int:
        return self._most if path == UPLOADS else WORDS


def _bounded(receive: Receive, most: int) -> Receive:
    """The same body, cut off where it grows beyond what is taken, whatever it announced."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return message if taken <= most else {"type": "http.disconnect"}

    return counted


async def _answer(
    send: Send, status: int, detail: str, extra: dict[str, str] | None = None
) -> None:
    body = f'{{"detail": "{detail}"}}'.encode() if detail else b""
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **(extra or {}),
    }
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send(
        {"type": "http.response.start", "status": HTTPStatus(status).value, "headers": pairs}
    )
    await send({"type": "http.response.body", "body": body})


def _is_ip(name: str) -> bool:
    try:
        _ip(name)
    except ValueError:
        return False
    return True


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(name)
