"""Other hosts, other sites and whoever has no token are refused; browsers are told to be careful."""

import pytest

from ignite_vision.serve.guard import host_of
from tests.helpers.servers import photo


@pytest.mark.parametrize(
    ("netloc", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8000", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        ("localhost@evil.example", ""),
        ("evil.example@localhost", ""),
        ("localhost:x", ""),
        ("localhost:99999", ""),
        ("[::1", ""),
        ("localhost/x", ""),
        ("localhost?x", ""),
        ("localhost#x", ""),
        ("", ""),
    ],
)
def test_a_host_is_what_stands_before_the_port(netloc, host):
    assert host_of(netloc) == host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9", "[::1]:8000"])
def test_names_of_this_machine_are_answered_whatever_the_port(server, host):
    assert server.ask("GET", "/healthz", Host=host).status == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/predict"])
@pytest.mark.parametrize("host", ["evil.example", "0.0.0.0", "127.0.0.1.evil.example", "localhost@evil.example", ""])
def test_other_names_are_not(server, host, path):
    answer = server.ask("POST" if path == "/predict" else "GET", path, Host=host)
    assert answer.status == 400
    assert answer.body["error"].startswith(f"this server does not answer to the host '{host_of(host)}'")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_a_page_of_another_site_cannot_send_images(server, headers):
    answer = server.predict(photo(), **headers)
    assert answer.status == 403
    assert "another site" in answer.body["error"]


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_its_own_page_can(server, site):
    own = f"http://localhost:{server.port}"
    headers = {"Host": f"localhost:{server.port}", "Origin": own, "Sec-Fetch-Site": site}
    assert server.predict(photo(), **headers).status == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/nowhere"), ("POST", "/predict"), ("PUT", "/")])
def test_every_answer_tells_browsers_to_be_careful_and_no_other_site_may_read_it(server, method, path):
    headers = server.ask(method, path, Origin="http://evil.example").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]
    assert "server" not in headers


def test_a_preflight_is_refused(server):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert server.ask("OPTIONS", "/predict", **asked).status == 403
    assert server.ask("OPTIONS", "/predict").status == 405


def test_with_a_token_only_the_page_and_the_health_check_are_open(start):
    locked = start("--token", "sesame")
    for path in ("/", "/page.js", "/page.css", "/openapi.json", "/healthz"):
        assert locked.ask("GET", path).status == 200
    for method, path in (("GET", "/model"), ("GET", "/metrics"), ("POST", "/predict"), ("GET", "/nowhere")):
        for given in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "sesame"},
            {"Authorization": "Bearer é"},
        ):
            answer = locked.ask(method, path, **given)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
    assert locked.predict(photo(), Authorization="Bearer sesame").status == 200
