"""Take the picture of a comparison: `python docs/compare_pictures.py COMPARE.html` (needs Chromium and Playwright).

It goes into docs/pictures, below 100 kB: the verdict, the runs, what differs, and the curves.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pictures import FOLDER, QUIET, save
from playwright.sync_api import sync_playwright

VIEW = {"width": 1100, "height": 1320}


def main(comparison: str) -> None:
    """Take it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        page = browser.new_page(viewport=VIEW)
        page.goto(Path(comparison).resolve().as_uri())
        save(page.screenshot(), FOLDER / "compare.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
