"""Slow clients, strange bytes and signals."""

import re
import signal
import socket
import time
from pathlib import Path

import pytest

from ignite_vision.errors import UserError
from ignite_vision.serve.server import MAX_HEAD, is_loopback, listen
from tests.helpers.servers import With, everything, head, photo

HALF = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Le"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_addresses_of_this_machine_alone(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", "localhost.example.com", ""])
def test_addresses_that_others_reach(host):
    assert not is_loopback(host)


def test_a_port_in_use_is_an_error_with_a_way_out():
    with listen("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(UserError, match="cannot listen on 127.0.0.1:.*Choose another --port"):
            listen("127.0.0.1", first.getsockname()[1])


def test_a_host_that_is_not_of_this_machine_is_an_error():
    for host in ("192.0.2.1", "a..b", "x" * 70, "no.such.host.invalid"):
        with pytest.raises(UserError, match="Choose another --host"):
            listen(host, 8123)


def test_an_answers_body_does_not_wait_for_its_head_to_be_acknowledged():
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_half_a_head_is_given_up_and_so_is_an_answer_that_nobody_reads(start):
    hurried = start(plan=With({"serve.server.HEAD_SECONDS": 0.5, "serve.server.REQUEST_SECONDS": 1}))
    with hurried.connect(HALF) as half, hurried.connect() as silent, hurried.connect(head(1000) + b"x") as body:
        assert everything(half) == everything(silent) == everything(body) == b""
    with hurried.connect() as deaf:
        deaf.setblocking(False)
        asked = b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200  # its answers do not fit into the buffers
        with pytest.raises(OSError):
            for _ in range(10**6):
                try:
                    deaf.send(asked)
                except BlockingIOError:
                    pass
    assert hurried.predict(photo()).status == 200


def test_the_second_head_of_a_connection_has_no_more_time_than_the_first(start):
    hurried = start(plan=With({"serve.server.HEAD_SECONDS": 0.5}))
    with hurried.connect(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + HALF) as link:
        assert everything(link).count(b"HTTP/1.1") == 1


def test_a_client_that_is_answered_is_not_cut_off_by_many_that_wait(start):
    crowded = start(plan=With({"serve.server.MAX_CONNECTIONS": 20}))
    waiting = [crowded.connect(HALF if i % 2 else head(1000) + b"x") for i in range(60)]
    assert crowded.predict(photo()).status == 200
    open_still = 0
    for link in waiting:
        link.setblocking(False)
        try:
            open_still += link.recv(1) != b""
        except BlockingIOError:
            open_still += 1
        except ConnectionResetError:
            pass
        link.close()
    assert open_still <= 20


def test_300_half_open_connections_harm_nobody(server):
    waiting = [server.connect(HALF if i % 2 else head(1000) + b"x") for i in range(300)]
    assert [server.predict(photo(i)).status for i in range(20)] == [200] * 20
    threads = re.search(r"Threads:\s+(\d+)", Path(f"/proc/{server.child.process.pid}/status").read_text())[1]
    assert int(threads) < 20
    for link in waiting:
        link.close()
    assert server.predict(photo()).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (MAX_HEAD * 60) + b"\r\n\r\n",
        b"GET /" + b"a" * (MAX_HEAD * 60) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: \xd9\xa3\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n",
    ],
    ids=lambda data: str(data[:12] + data[-12:]),
)
def test_what_is_no_http_is_400_in_the_one_shape(server, data):
    try:
        answer = server.raw(data)
    except (ConnectionResetError, BrokenPipeError):  # it answered and closed while we still sent
        answer = b'HTTP/1.1 400 \r\n\r\n{"error"'
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.partition(b"\r\n\r\n")[2].startswith(b'{"error"')
    assert server.predict(photo()).status == 200


def test_a_body_in_bad_chunks_ends_the_connection_and_nothing_else(server):
    begun = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"
    assert server.raw(begun).count(b"HTTP/1.1") <= 1
    assert "Traceback" not in server.child.text
    assert server.predict(photo()).status == 200


def test_a_length_beside_chunks_cannot_smuggle_a_second_request(server):
    both = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = server.raw(both + b"0\r\n\r\nGET /model HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b'"classes"' not in answer or answer.count(b"HTTP/1.1") == 2  # as a request of its own, not inside of one


def test_websockets_are_not_spoken(server):
    upgrade = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    assert server.raw(upgrade).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_has_begun_end_and_takes_nothing_new(start, number):
    served = start()
    body = photo()
    with served.connect(head(len(body)) + body[:100]) as begun, served.connect():
        assert served.ask("GET", "/healthz").status == 200
        served.child.signal(number)
        with pytest.raises(ConnectionRefusedError):
            for _ in range(1000):
                socket.create_connection(("127.0.0.1", served.port)).close()
                time.sleep(0.02)
        begun.sendall(body[100:])
        answer = everything(begun)
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert served.child.wait() == 0
    assert served.child.said[-1] == "stopped."
    assert "Traceback" not in served.child.text


def test_a_second_signal_ends_it_at_once(start):
    served = start(plan=With({"system.signals.TWICE": 0, "serve.server.TWICE": 0}))
    with served.connect(head(1000) + b"x"):
        assert served.ask("GET", "/healthz").status == 200
        served.child.signal(signal.SIGTERM)
        for _ in range(10_000):
            if served.child.process.exitcode is not None:
                break
            served.child.process.join(0.2)
            if served.child.process.exitcode is None:
                served.child.signal(signal.SIGTERM)
        assert served.child.wait() == 128 + signal.SIGTERM


def test_what_does_not_end_is_cancelled(start):
    served = start(plan=With({"serve.server.DRAIN_SECONDS": 0.3}))
    with served.connect(head(1000) + b"x") as begun:
        assert served.ask("GET", "/healthz").status == 200
        served.child.signal(signal.SIGTERM)
        assert served.child.wait() == 0
        assert b"503 Service Unavailable" in (answer := everything(begun))
        assert b'{"error":"the server is stopping."}' in answer.replace(b": ", b":")
