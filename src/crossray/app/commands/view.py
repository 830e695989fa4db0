"""`crossray view`: the server started, its page opened."""

import os
import re
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from crossray.app.server.application import create_app, listener
from crossray.app.server.book import LabelBook
from crossray.app.server.folders import labels_beside, studies_in
from crossray.app.server.security import Address
from crossray.app.server.session import Session
from crossray.errors import InputError
from crossray.matching.classifier import Classifier

TOKEN = "CROSSRAY_TOKEN"
"""Environment variable with the token other addresses than loopback need; one is made where it is not set."""


def view(
    paths: Sequence[Path],
    weights: Sequence[str],
    classifier: str,
    labels: Path | None,
    host: str,
    port: int,
    browser: bool,
) -> None:
    """Serve studies until told to stop."""
    given = studies_in(paths)
    address = _address(host, port)
    if labels is not None and not os.access(labels.resolve().parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{labels} cannot be kept: its folder does not exist or cannot be written to; make it, or name another "
            "--labels."
        )
    book = LabelBook(labels or labels_beside(paths))
    session = Session(
        weights, given, classifier=Classifier.load(classifier) if classifier else None
    )
    try:
        threading.Thread(target=session.decoder.start, daemon=True).start()
        url = f"http://{f'[{host}]' if ':' in host else host}:{address.port}/"
        secret = f"?token={address.token}" if address.token else ""
        print(f"{len(given)} {'study' if len(given) == 1 else 'studies'}. Open {url}{secret}")
        print(
            f"Labels are kept in {book.path}. Ctrl-C ends it and deletes what was uploaded.",
            flush=True,
        )
        if browser:
            threading.Timer(0.8, webbrowser.open, [url + secret]).start()
        server = listener(create_app(session, book, weights[0]), address, session)
        hangup = getattr(signal, "SIGHUP", None)  # the terminal was closed; Windows has none
        if hangup and signal.getsignal(hangup) is signal.SIG_DFL:  # under nohup it is ignored
            signal.signal(hangup, server.handle_exit)
        server.run()
    finally:
        session.close()


def _address(host: str, port: int) -> Address:
    """Where to listen; a free port where none is asked for, and a token beyond loopback.

    Raises:
        InputError: The address is none of this machine's, the port is taken, or the token is no word.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{host}:{port} cannot be listened on ({error}); choose another --port, or --port 0 for a free one."
        ) from None
    address = Address(host, port)
    if address.loopback:
        return address
    token = os.environ.get(TOKEN, secrets.token_urlsafe(24))
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
        raise InputError(
            f"{TOKEN} may hold letters, digits and . _ ~ - and has to hold some; set another."
        )
    return Address(host, port, token)
