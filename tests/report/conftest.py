"""Pages in a real browser: Debian's Chromium, if it is there."""

import pytest

from ignite_vision.report.page import render
from tests.helpers.reports import evidence


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Pages of 3 and of 40 classes, whose names are hostile, by their number."""
    folder = tmp_path_factory.mktemp("pages")
    hostile = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>")
    pages = {3: evidence(), 40: evidence((*hostile, *(f"class {i:02}" for i in range(38))), n=400)}
    for classes, found in pages.items():
        (folder / f"{classes}.html").write_text(render(found))
    return {classes: folder / f"{classes}.html" for classes in pages}


@pytest.fixture
def visit(browser, files):
    """Return a function that opens a page from disk; afterwards, nothing was asked for and no script failed."""
    pages, asked, problems = [], [], []

    def begin(classes=40, **view):
        page = browser.new_page(**view)
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.goto(files[classes].as_uri())
        pages.append(page)
        return page

    yield begin
    for page in pages:
        page.close()
    foreign = [url for url in asked if not url.startswith("data:") and url not in {p.as_uri() for p in files.values()}]
    assert (foreign, problems) == ([], [])
