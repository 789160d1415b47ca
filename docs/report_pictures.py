"""Take the pictures of a report: `python docs/report_pictures.py REPORT.html` (needs Chromium and Playwright).

They go into docs/pictures, each below 100 kB: the verdict, what is confused, images under heat maps, on a desktop and
on a phone, by day and by night.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from pictures import FOLDER, QUIET, save
from playwright.sync_api import sync_playwright

DESK, PHONE = {"width": 1100, "height": 820}, {"width": 390, "height": 820}
# name -> (the section on top, how it is looked at)
VIEWS: dict[str, tuple[str, dict[str, Any]]] = {
    "report-light": ("verdict", {"viewport": DESK}),
    "report-images": ("images", {"viewport": DESK}),
    "report-dark": ("confusion", {"viewport": DESK, "color_scheme": "dark"}),
    "report-phone": ("verdict", {"viewport": PHONE, "is_mobile": True, "has_touch": True}),
}


def main(report: str) -> None:
    """Take all of them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        for name, (section, view) in VIEWS.items():
            page = browser.new_page(**view)
            page.goto(Path(report).resolve().as_uri())
            page.emulate_media(reduced_motion="reduce")
            if section != "verdict":
                page.evaluate("id => document.getElementById(id).scrollIntoView()", section)
            page.wait_for_timeout(500)  # images are loaded once they are in sight
            save(page.screenshot(), FOLDER / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
