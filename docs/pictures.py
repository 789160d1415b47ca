"""Take the pictures of the page: `python docs/pictures.py MODEL IMAGE...` (needs Chromium and Playwright).

They go into docs/pictures, each below 100 kB. MODEL: a run directory or its model.safetensors. IMAGES: photographs, the
most telling one first.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import expect, sync_playwright

FOLDER = Path(__file__).parent / "pictures"
# Debian's Chromium would ask the network for names of Google's at every start
QUIET = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-dev-shm-usage"]
VIEWS: dict[str, dict[str, Any]] = {
    "page-light": {"viewport": {"width": 860, "height": 900}},
    "page-dark": {"viewport": {"width": 860, "height": 900}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 1000}, "is_mobile": True, "has_touch": True},
}


def main(model: str, *images: str) -> None:
    """Take all of them."""
    command = [sys.executable, "-m", "ignite_vision", "serve", model, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            (address,) = re.findall(r"http://[\d.:]+\d", server.stderr.readline())
            take(address, list(images))
        finally:
            server.terminate()


def take(address: str, images: list[str]) -> None:
    """Take the pictures of a server that runs."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        for name, view in VIEWS.items():
            page = browser.new_page(**view)
            page.goto(address)
            page.set_input_files("#file", images)
            expect(page.locator("li.wait")).to_have_count(0, timeout=60_000)
            page.locator("li button").first.click()
            page.locator("li canvas").first.wait_for()
            page.mouse.move(0, 0)
            page.evaluate("scrollTo(0, 0)")
            save(page.screenshot(), FOLDER / f"{name}.png")
        browser.close()


def save(screenshot: bytes, path: Path) -> None:
    """Write a picture with few colours."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
