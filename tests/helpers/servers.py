"""`ignite-vision serve` in a child process, asked as a client does."""

import dataclasses
import http.client
import importlib
import io
import json
import os
import re
import socket
import struct
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.helpers import children


@dataclasses.dataclass
class Answer:
    """What came back. body: JSON as what it is, anything else as bytes."""

    status: int
    headers: dict[str, str]
    body: Any


class Served:
    """A server that runs."""

    def __init__(self, *arguments: Any, plan: Any = None, **environ: str) -> None:
        self.child = children.start("serve", *arguments, "--port", 0, plan=plan, **environ)
        self.child.wait_for("Ctrl-C stops")
        (port,) = re.findall(r"http://\S+:(\d+)", self.child.text)
        self.port = int(port)

    def ask(self, method: str, path: str, body: Any = None, timeout: float = 60, **headers: str) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            return read(connection.getresponse())
        finally:
            connection.close()

    def predict(self, body: Any, query: str = "", **headers: str) -> Answer:
        return self.ask("POST", f"/predict{query}", body, **headers)

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection that has sent some bytes."""
        link = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        link.sendall(data)
        return link

    def raw(self, data: bytes) -> bytes:
        """What comes back for some bytes, until the server closes the connection."""
        with self.connect(data) as link:
            return everything(link)

    def end(self) -> None:
        """Kill it, if it is still there."""
        if self.child.process.is_alive():
            self.child.process.kill()
            self.child.process.join()


def read(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = response.read()
    is_json = headers.get("content-type") == "application/json" and body
    return Answer(response.status, headers, json.loads(body) if is_json else body)


def everything(link: socket.socket) -> bytes:
    """All that still comes."""
    found = b""
    try:
        while data := link.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def head(length: int, path: str = "/predict", method: str = "POST") -> bytes:
    """The head of a request with a body of this length."""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def photo(seed: int = 0, size: tuple[int, int] = (50, 60), format: str = "PNG") -> bytes:
    """An image file of noise. size: height, width."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A black PNG of any size, in a thousandth of its pixels' bytes."""
    packer = zlib.compressobj(9)
    row = b"\0" * (width * 3 + 1)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# Plans: what is to be otherwise in a child. They can be pickled.


@dataclasses.dataclass(frozen=True)
class With:
    """Set numbers of modules: {"serve.app.BODY_SECONDS": 1}."""

    numbers: dict[str, float]

    def __call__(self) -> None:
        for name, value in self.numbers.items():
            module, _, number = name.rpartition(".")
            setattr(importlib.import_module(f"ignite_vision.{module}"), number, value)


def tell_of_writing() -> None:
    """Print a line for each file that is opened to be written."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not isinstance(arguments[0], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            os.write(2, f"WRITES {os.fsdecode(arguments[0])}\n".encode())

    sys.addaudithook(hook)


def written(child: children.Child) -> Iterable[Path]:
    """The files that `tell_of_writing` told of."""
    return [Path(name) for name in re.findall(r"^WRITES (.*)$", child.text, re.M) if name != os.devnull]
