"""Runs' pages over HTTP, to people on this machine: read only, with a token in the address, live.

    /TOKEN/                all runs that are watched        /TOKEN/NAME/           the page of one
    /TOKEN/updates         what is new to such a page       /TOKEN/NAME/updates

Whoever is not the person who was given the address gets nothing: no path without the token; no request under a name
that is not this server's own (another's name that is made to lead here, DNS rebinding); no request that a browser makes
for a page from elsewhere; no method but GET and HEAD. Nothing is written, and nothing of a run is executed.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from evosearch.errors import EvosearchError, RunError
from evosearch.report.following import Clock, Following, Listing, address
from evosearch.report.stopping import warm_up
from evosearch.text import clean

LOCAL = "127.0.0.1"
NAMES = ("localhost", LOCAL, "[::1]")  # under which a browser on this machine asks for it
TOKEN_BYTES = 24
CLOCK = Clock()
PATIENCE = 30  # seconds for a request to come whole
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Serves runs until `shutdown`.

    find: the runs there are, by what they are called. title: what the page of all is called. host, port: where to
    listen; port 0 takes a free one. layers: files of own layers, for the drawings.
    """

    daemon_threads = True

    def __init__(
        self,
        find: Callable[[], Mapping[str, Path]],
        title: str,
        host: str = LOCAL,
        port: int = 0,
        layers: tuple[str | Path, ...] = (),
        clock: Clock = CLOCK,
    ) -> None:
        self.find, self.host, self.layers, self.clock = find, host, layers, clock
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.listing = Listing(title, find, clock)
        self.followed: dict[str, Following] = {}
        self.locks: dict[str, threading.Lock] = {}
        self.lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """As HTTPServer's, without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, int(self.server_address[1])

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """As HTTPServer's; beside it is loaded what the first fit of a part would keep a page waiting for."""
        threading.Thread(target=warm_up, daemon=True).start()
        super().serve_forever(poll_interval)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no matter; anything else is said in one line."""
        error = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"evolve: a request failed: {type(error).__name__}: {clean(str(error))}", file=sys.stderr, flush=True)

    def url(self, name: str = "") -> str:
        """The address of the page of all, or of one run."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_port}/{self.token}/{address(name) if name else ''}"

    def is_own(self, host: str) -> bool:
        """Whether a request that names this host is for this server, and not for a name that leads here."""
        name, _, port = host.rpartition(":")
        if port != str(self.server_port):
            return False
        if name.lower() in (*NAMES, self.host.lower(), f"[{self.host.lower()}]"):
            return True
        return self.host != LOCAL and _is_address(name)

    def shown(self, name: str) -> tuple[Following | Listing, threading.Lock] | None:
        """What is served under a name, the empty one for all, and who may look at it now; None for no such run."""
        with self.lock:
            lock = self.locks.setdefault(name, threading.Lock())
            if not name:
                return self.listing, lock
            folder = self.find().get(name)
            if folder is None:
                return None
            found = self.followed.get(name)
            if found is None:
                found = self.followed[name] = Following(folder, self.layers, self.clock)
            return found, lock


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def version_string(self) -> str:
        return "evolve"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a page asks twice a second."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part, errors="replace") for part in url.path.split("/")[1:]] or [""]
        if refusal := self._refusal(parts[0]):
            self._refuse(HTTPStatus.FORBIDDEN, refusal)
        elif len(parts) == 2 and parts[1] in ("", "updates"):
            self._show("", parts[1], url.query)
        elif len(parts) == 3 and parts[1] and parts[2] in ("", "updates"):
            self._show(parts[1], parts[2], url.query)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_HEAD(self) -> None:
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no HTTP, and any method that has no `do_` here, in one line."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            why = "only GET and HEAD: nothing can be changed here"
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, why, Allow="GET, HEAD")
        else:
            self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def _refusal(self, token: str) -> str:
        """Why this request gets nothing; empty where it may have what it asks for."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if len(self.headers.get_all("Host", [])) != 1 or not self.server.is_own(host):
            return "this is not the name of this server"
        if origin is not None and origin.lower() != f"http://{host}".lower():
            return "a page from elsewhere may not ask"
        opened = (self.headers.get("Sec-Fetch-Mode"), self.headers.get("Sec-Fetch-Dest")) == ("navigate", "document")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not opened:
            return "a page from elsewhere may not ask"
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            return "the address lacks its token; evolve watch prints it whole"
        return ""

    def _show(self, name: str, what: str, query: str) -> None:
        found = self.server.shown(name)
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such run")
            return
        shown, lock = found
        asked = parse_qs(query)
        try:
            with lock:
                if not what:
                    self._answer(HTTPStatus.OK, "text/html", shown.page().encode("utf-8", "backslashreplace"))
                    return
                seen = [_number(asked.get(key, [""])[0]) for key in ("version", "scored")]
                update = shown.updates(asked.get("begun", [""])[0], *seen)
        except RunError as error:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"The run cannot be read: {error}")
        except EvosearchError as error:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        else:
            if update is None:
                self._answer(HTTPStatus.NO_CONTENT, "", b"")
            else:
                text = json.dumps(update, allow_nan=False, separators=(",", ":"))
                self._answer(HTTPStatus.OK, "application/json", text.encode())

    def _refuse(self, status: HTTPStatus, why: str, **headers: str) -> None:
        self.close_connection = True  # what else it may have sent is not read
        self._answer(status, "text/plain", f"{clean(why)}\n".encode("utf-8", "replace"), Connection="close", **headers)

    def _answer(self, status: HTTPStatus, kind: str, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for header, value in {**HEADERS, **headers}.items():
            self.send_header(header, value)
        if kind:
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 16 else 0
