"""The routes: a page for people, `POST /predict` for programs, and what both may want to know."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ignite_vision.errors import UserError
from ignite_vision.inference.classifier import Classifier
from ignite_vision.serve.answering import MAX_PIXELS, Answering, Busy, TooLarge
from ignite_vision.serve.guard import Guard, problem
from ignite_vision.serve.metrics import Metrics

MAX_BODY = 20 << 20  # bytes of an image file
MAX_BODIES = 256 << 20  # bytes of all of them that have arrived and are not answered
BODY_SECONDS = 60  # within which a body has to arrive
TOO_LONG = HTTPException(413, f"the file is larger than {MAX_BODY:,} bytes.")
TOP, MOST = 5, 1000  # classes in an answer
FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF and PPM are read."
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/openapi.json": ("openapi.json", "application/json"),
}


def make_app(classifier: Classifier, hosts: Sequence[str], token: str | None = None) -> ASGIApp:
    """Return the application. hosts, token: as `Guard` has them."""
    metrics, answering, bodies = Metrics(), Answering(classifier), Bodies()
    about = describe(classifier, answering.layer is not None)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with answering.running():
            yield

    async def predict(request: Request) -> Response:
        top, heat = asked(request)
        answering.expect_room()  # before the body is read
        try:
            async with bodies.read(request) as data:
                return as_json(await answering.answer(data, top, heat))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except asyncio.CancelledError:  # the server ends, and has waited long enough
            return problem(503, "the server is stopping.", {"retry-after": "1"})

    async def model(_request: Request) -> Response:
        return as_json(about)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def counted(_request: Request) -> Response:
        text = metrics.text(answering.inside, answering.images, answering.batcher.batches)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    app = Starlette(
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        routes=[
            *(Route(path, _file(name, kind)) for path, (name, kind) in FILES.items()),
            Route("/predict", predict, methods=["POST"]),
            Route("/model", model),
            Route("/healthz", healthz),
            Route("/metrics", counted),
        ],
    )
    app.router.redirect_slashes = False
    return Guard(app, hosts, token, metrics)


def as_json(value: Any) -> Response:
    """Return JSON in ASCII: a class may be called by bytes that are no UTF-8."""
    return Response(json.dumps(value, allow_nan=False), media_type="application/json")


def describe(classifier: Classifier, heat_maps: bool) -> dict[str, Any]:
    """Return what /model says. heat_maps: whether the network has any."""
    header = classifier.header
    kept = {name: header[name] for name in ("architecture", "metrics", "weights") if _is_plain(header.get(name))}
    return {
        **kept,
        "classes": classifier.classes,
        "preprocessing": classifier.preprocessing.to_dict(),
        "precision": classifier.precision,
        "device": classifier.device.type,
        "temperature": classifier.temperature,
        "abstain_below": classifier.abstain_below,
        "heat_maps": heat_maps,
        "limits": {"bytes": MAX_BODY, "pixels": MAX_PIXELS},
    }


def _is_plain(value: Any) -> bool:
    """Whether a field of the header, which nobody has checked, is there and is JSON: NaN is not."""
    try:
        return value is not None and bool(json.dumps(value, allow_nan=False))
    except ValueError:
        return False


def asked(request: Request) -> tuple[int, bool]:
    """(top, whether a heat map is wanted) of the query. 400 for anything else."""
    top, heat = request.query_params.get("top", str(TOP)), request.query_params.get("heatmap", "0")
    if not (top.isascii() and top.isdigit() and len(top) < 9 and 1 <= int(top) <= MOST):
        raise HTTPException(400, f"top must be a whole number from 1 to {MOST}.")
    if heat not in ("0", "1"):
        raise HTTPException(400, "heatmap must be 0 or 1.")
    return int(top), heat == "1"


class Bodies:
    """The bodies that are in memory now. held: their bytes."""

    def __init__(self) -> None:
        self.held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Within, a request's body. 400, 408 or 413 for one that is empty, late or too large; Busy without room."""
        data = bytearray()
        try:
            await self._fill(data, request)
            yield data
        finally:
            self.held -= len(data)

    async def _fill(self, data: bytearray, request: Request) -> None:
        if int(request.headers.get("content-length", "0")) > MAX_BODY:
            raise TOO_LONG
        try:
            await asyncio.wait_for(self._receive(data, request), BODY_SECONDS)
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the image did not arrive within {BODY_SECONDS} s.") from None
        if not data:
            raise HTTPException(400, "the body is empty: send the bytes of an image file.")

    async def _receive(self, data: bytearray, request: Request) -> None:
        async for chunk in request.stream():
            if len(data) + len(chunk) > MAX_BODY:
                raise TOO_LONG
            if self.held + len(chunk) > MAX_BODIES:
                raise Busy
            data += chunk
            self.held += len(chunk)


def _file(name: str, kind: str) -> Any:
    """Return an endpoint that answers with a file of this folder."""
    content = (Path(__file__).parent / name).read_bytes()

    async def send(_request: Request) -> Response:
        return Response(content, media_type=kind)

    return send


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, dict(error.headers or {}))


async def _busy(_request: Request, _error: Exception) -> Response:
    return problem(503, "too many requests at once; try again in a second.", {"retry-after": "1"})


async def _too_large(_request: Request, _error: Exception) -> Response:
    return problem(413, f"the image has more than {MAX_PIXELS:,} pixels.")


async def _unreadable(_request: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    return problem(415, f"{error.what}. {FORMATS}")


async def _failed(_request: Request, _error: Exception) -> Response:
    """Starlette raises the error again afterwards, so that its traceback is logged."""
    return problem(500, "the server failed; its log says why.")


HANDLERS: dict[Any, Any] = {
    HTTPException: _refused,
    Busy: _busy,
    TooLarge: _too_large,
    UserError: _unreadable,
    Exception: _failed,
}
