"""A server on this machine that speaks as much of Vault's transit API as a station asks for, well or badly."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from security.encryption import DecryptionRefused, RotatingCipher

TOKEN = "hvs.planted-token-of-a-test"  # noqa: S105 (opens nothing)


class SmallVault:
    """Running while it is entered. way: how it answers, `""` for as it should; asked: the paths it was asked for."""

    def __init__(self) -> None:
        self.way = ""
        self.asked: list[str] = []
        self._keys: dict[str, RotatingCipher] = {}
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> SmallVault:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.way = "over"
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def uri(self, name: str) -> str:
        return f"vault://127.0.0.1:{self._server.server_port}/transit/keys/{name}"

    def answer(self, verb: str, name: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and content, as Vault's documentation has them."""
        context = base64.b64decode(asked["associated_data"])
        cipher = self._keys.setdefault(name, RotatingCipher.fresh())
        if verb == "encrypt":
            sealed = cipher.encrypt(base64.b64decode(asked["plaintext"]), context)
            return 200, {"data": {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}", "key_version": 1}}
        try:
            opened = cipher.decrypt(base64.b64decode(asked["ciphertext"].removeprefix("vault:v1:")), context)
        except (DecryptionRefused, ValueError):
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(opened).decode()}}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        self.server.vault.asked.append(self.path)
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        _, _, _, verb, name = self.path.split("/")
        with contextlib.suppress(ConnectionError):
            self._answer(verb, name, asked)

    def _answer(self, verb: str, name: str, asked: dict[str, str]) -> None:
        way = self.server.vault.way
        if way == "" and self.headers["x-vault-token"] == TOKEN:
            status, content = self.server.vault.answer(verb, name, asked)
            self._send(status, json.dumps(content).encode())
        elif way == "redirect":
            self._send(307, b"", ("location", f"http://{self.headers['host']}/elsewhere/encrypt/k"))
        elif way == "silent":
            time.sleep(0.7)
        elif way == "dripping":
            self._drip()
        elif way != "hangs up":
            self._send(*_BADLY.get(way, (403, b'{"errors":["permission denied"]}')))

    def _send(self, status: int, content: bytes, header: tuple[str, str] = ("x-of", "a test")) -> None:
        self.send_response(status)
        self.send_header(*header)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        while self.server.vault.way == "dripping":
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def __init__(self, vault: SmallVault) -> None:
        self.vault = vault
        super().__init__(("127.0.0.1", 0), _Handler)


_BADLY = {
    "sealed": (503, b'{"errors":["Vault is sealed"]}'),
    "no such key": (404, b'{"errors":[]}'),
    "no json": (200, b"<html>"),
    "other json": (200, b'{"data":[]}'),
    "too much": (200, b" " * 200_000),
    "nonsense": (200, b'{"data":{"ciphertext":"x","plaintext":"?"}}'),
}
