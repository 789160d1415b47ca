"""uvicorn with limits against slow clients, and with our signals: the first one drains, the second one ends."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import signal
import socket
import time
from asyncio import TimerHandle, Transport
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from ignite_vision.errors import UserError
from ignite_vision.inference.classifier import Classifier
from ignite_vision.serve.app import BODY_SECONDS, make_app
from ignite_vision.serve.guard import HEADERS
from ignite_vision.system.signals import TWICE, leave_at_once, watched

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEAD_SECONDS = 10.0  # from a connection, or from the answer before, to the whole head of a request
REQUEST_SECONDS = 2.0 * BODY_SECONDS  # from a request's head to the last byte of its answer
DRAIN_SECONDS = 8  # that requests have to end after a signal: Docker kills 10 s after it
MAX_CONNECTIONS = 512  # a process may open 1024 files where nobody has allowed more
MAX_HEAD = 16 << 10  # bytes of a request's head


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, or a name for it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Open the socket. port: 0 for any that is free. UserError when it cannot be had."""
    try:
        (family, _kind, _protocol, _name, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.create_server(address[:2], family=family)
    except UnicodeError as error:
        raise UserError(f"'{host}' is no host", next_step="Choose another --host.") from error
    except OSError as error:
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        hint = "Choose another --port, or stop the program that uses it." if taken else "Choose another --host."
        why = str(error.strerror).partition(" (")[0]  # Python adds the address, once more
        raise UserError(f"cannot listen on {host}:{port}: {why}", next_step=hint) from error
    # Connections inherit it. asyncio sets it only where the socket names its protocol, which this one does not: the
    # body of an answer, written after its head, would wait 40 ms for the head to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(
    classifier: Classifier,
    listener: socket.socket,
    hosts: Sequence[str],
    token: str | None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Answer until a signal comes, then end what is begun. hosts, token: as `Guard` has them. ready: called first."""
    config = Config(
        make_app(classifier, hosts, token),
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    Draining(config, ready).run([listener])


class Draining(Server):
    """A server that the first signal drains and a second one ends at once."""

    def __init__(self, config: Config, ready: Callable[[], None]):
        super().__init__(config)
        self.ready = ready
        self.since: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self.ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Within, signals are ours."""
        before = {number: signal.signal(number, self.handle_exit) for number in watched()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the first signal; leave at the second, unless it is the first by another way."""
        if self.since is None:
            self.since, self.should_exit = time.monotonic(), True
        elif time.monotonic() - self.since > TWICE:
            leave_at_once(sig, frame)


class Protocol(H11Protocol):
    """A connection that has so much time for a request's head, and for all of a request.

    uvicorn itself lets half a head, half a body and an answer that nobody reads wait for ever.
    """

    timer: TimerHandle | None = None
    since = 0.0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head. With too many connections, the one that has let us wait longest goes."""
        super().connection_made(transport)
        self._allow(HEAD_SECONDS)
        there = [other for other in self.connections if not other.transport.is_closing()]
        if len(there) > MAX_CONNECTIONS:
            mine = [other for other in there if isinstance(other, Protocol)]
            min(mine, key=lambda other: (other.is_answering(), other.since)).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what has arrived; another request has its own time."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete:
            self._allow(REQUEST_SECONDS)

    def on_response_complete(self) -> None:
        """Wait for the next head, and for what is left of a body that was refused."""
        self._allow(HEAD_SECONDS)
        super().on_response_complete()

    def is_answering(self) -> bool:
        """Whether the server has all of a request and the client waits for it, not the other way round."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's)
        """Refuse what is no HTTP, in the one shape, unless an answer has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": "this is not a valid HTTP request."}).encode()
            headers: dict[str, Any] = {"content-type": "application/json", "connection": "close", **HEADERS}
            headers["content-length"] = str(len(body))
            pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
            answer = (h11.Response(status_code=400, headers=pairs), h11.Data(data=body), h11.EndOfMessage())
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in answer))
        self.transport.close()

    def _allow(self, seconds: float) -> None:
        """Close the connection, with whatever is in it, so many seconds from now."""
        self._stop()
        self.since = self.loop.time()
        self.timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
