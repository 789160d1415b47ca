"""From a template to one HTML file that asks no network for anything: what every page of a run has in common."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from ignite_vision._version import __version__
from ignite_vision.errors import printable
from ignite_vision.report.plots import percent

LONG = 14  # rows from which on a table scrolls by itself


def filled(template: str, styles: Sequence[str], filters: dict[str, Callable[..., Any]], **values: Any) -> str:
    """Return the page. Names of classes, files and runs are text in it, whatever they hold.

    template, styles: names of files beside this one. filters: beside `pct` and `shown`. The script is page.js, and the
    hash by which the page's policy lets it run, `js_hash`.
    """
    script = _text("page.js")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(pct=percent, shown=shown, **filters)
    page = environment.get_template(template).render(
        css=Markup("".join(map(_text, styles))),
        js=Markup(script),
        js_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
        LONG=LONG,
        **values,
    )
    return page.encode("utf-8", "replace").decode() + "\n"  # undecodable bytes of a name


def shown(text: str) -> str:
    """Return the text with what does not print escaped; the narrow space of our own percentages stays."""
    return "\u202f".join(map(printable, str(text).split("\u202f")))


def _text(name: str) -> str:
    return resources.files("ignite_vision.report").joinpath(name).read_text(encoding="utf-8")
