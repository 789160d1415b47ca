"""Who may ask: the hosts that this server answers to, pages of its own alone, and whoever has the token."""

from __future__ import annotations

import hmac
import time
import urllib.parse
from collections.abc import Sequence

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ignite_vision.serve.metrics import Metrics

OPEN = ("/", "/page.css", "/page.js", "/openapi.json", "/healthz")  # without a token: they tell nothing of the model
READS = ("GET", "HEAD")
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'"
HEADERS = {
    # nothing from elsewhere, nothing inline, no frame around it
    "content-security-policy": f"{POLICY}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=()",
    "cache-control": "no-store",
}


def problem(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return the one shape that every refusal has."""
    return JSONResponse({"error": text}, status, headers)


class Guard:
    """Refuses what must not reach the application, and adds to every answer the headers that browsers need.

    hosts: names and addresses as clients write them, without port; "*" for any. token: None if nobody needs one.
    metrics: gets told of every answer of /predict.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str | None, metrics: Metrics):
        self.app, self.hosts, self.token, self.metrics = app, {host.lower() for host in hosts}, token, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or have the application answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
                if scope["path"] == "/predict":
                    self.metrics.saw(message["status"], time.perf_counter() - began)
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """Why this request is refused, or None."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        netloc = headers.get(b"host", "")
        if "*" not in self.hosts and (name := host_of(netloc)) not in self.hosts:
            hint = f" Start it with --allow-host {name}." if name else ""
            return problem(400, f"this server does not answer to the host '{name}'.{hint}")
        if scope["method"] not in READS and _from_another_site(headers, netloc):
            return problem(403, "a page of another site may not send images here.")
        if self.token is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
                hint = "the token is missing or wrong: send it as `Authorization: Bearer TOKEN`."
                return problem(401, hint, {"www-authenticate": "Bearer"})
        return None


def host_of(netloc: str) -> str:
    """Name or address in a Host header, in lower case, without port and brackets. Empty for what is none."""
    try:
        parts = urllib.parse.urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == netloc and "@" not in netloc else ""


def _from_another_site(headers: dict[bytes, str], netloc: str) -> bool:
    """Whether a browser says that a page of another origin sent this: such a request needs no answer to do harm."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    return site not in (None, "same-origin", "none") or (
        origin is not None and origin.partition("://")[2].lower() != netloc.lower()
    )
