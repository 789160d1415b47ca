"""The page in a real browser: Debian's Chromium, if it is there."""

import pytest

from tests.helpers.classifiers import write_model
from tests.helpers.servers import bomb, photo

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright, for the tests of the page")
expect = playwright.expect
pytestmark = pytest.mark.slow


@pytest.fixture
def visit(browser, server):
    """Return a function that opens the page; afterwards, nothing foreign was asked for and no script failed."""
    pages, foreign, problems = [], [], []

    def begin(to=server, **view):
        page = browser.new_page(**view)
        page.set_default_timeout(30_000)
        own = f"http://127.0.0.1:{to.port}"
        page.on("request", lambda request: foreign.append(request.url) if _is_foreign(request.url, own) else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
        page.goto(own)
        pages.append(page)
        return page

    yield begin
    for page in pages:
        page.close()
    assert (foreign, problems) == ([], [])


def _is_foreign(url, own):
    return not url.startswith((own, f"blob:{own}", "data:"))


def file(name="photo.png", data=None, kind="image/png"):
    return {"name": name, "mimeType": kind, "buffer": photo() if data is None else data}


def done(page, n):
    """Wait until there are n answers."""
    expect(page.locator("#results li")).to_have_count(n)
    expect(page.locator("#results li.wait")).to_have_count(0, timeout=30_000)


def test_a_chosen_image_is_answered_with_bars(visit):
    page = visit()
    expect(page.locator("#about")).to_contain_text("3 classes · cifar10_cnn · accuracy 90.0 % on its test images")
    page.set_input_files("#file", file())
    done(page, 1)
    card = page.locator("#results li")
    expect(card.locator("h2")).to_have_text("Not sure")
    expect(card).to_contain_text("Below 99.0 %, this model is wrong too often")
    expect(card.locator("figcaption")).to_have_text("photo.png")
    assert sorted(card.locator(".row span:first-child").all_inner_texts()) == ["ant", "bee", "cow"]
    bars = card.locator("meter").evaluate_all("all => all.map(bar => bar.value)")
    assert bars == sorted(bars, reverse=True)
    assert sum(bars) == pytest.approx(1, abs=1e-5)
    expect(page.locator("#status")).to_have_text("1 image done.")


def test_many_images_and_broken_ones_among_them_keep_their_order(visit):
    page = visit()
    files = [file(f"{i}.png", photo(i)) for i in range(9)]
    files[4] = file("broken.png", b"no image")
    files[6] = file("empty.png", b"")
    files[7] = file("bomb.png", bomb(7_100, 7_100))
    page.set_input_files("#file", files)
    done(page, 9)
    names = page.locator("figcaption").all_inner_texts()
    assert names == [entry["name"] for entry in files]
    wrong = page.locator("#results li.wrong")
    expect(wrong).to_have_count(3)
    texts = wrong.all_inner_texts()
    assert "Cannot read image: not an image of a known format" in texts[0]
    assert "The file is empty." in texts[1]
    assert "50,000,000 pixels" in texts[2]


def test_images_can_be_dropped_anywhere(visit):
    page = visit()
    page.locator("footer").drop({"files": [file("dropped.png")]})
    done(page, 1)
    expect(page.locator("figcaption")).to_have_text("dropped.png")


def test_an_image_can_be_pasted(visit):
    page = visit()
    page.evaluate(
        """data => { const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(data)], 'pasted.png', {type: 'image/png'}));
        dispatchEvent(new ClipboardEvent('paste', {clipboardData: files, bubbles: true})); }""",
        list(photo()),
    )
    done(page, 1)
    expect(page.locator("figcaption")).to_have_text("pasted.png")


def test_the_heat_map_is_shown_hidden_and_shown_again(visit):
    page = visit()
    page.set_input_files("#file", file(data=photo(size=(100, 200))))
    done(page, 1)
    button, canvas = page.locator("li button"), page.locator("li canvas")
    for shown in (True, False, True):
        button.click()
        expect(button).to_have_attribute("aria-pressed", str(shown).lower())
        expect(canvas).to_be_visible() if shown else expect(canvas).to_be_hidden()
    over, under = canvas.bounding_box(), page.locator("li img").bounding_box()
    assert over == pytest.approx(under, abs=1)
    pixel = "(all, [x, y]) => [...all[0].getContext('2d').getImageData(x, y, 1, 1).data]"
    assert canvas.evaluate_all(pixel, [20, 50])[:3] == [120, 120, 120]  # left of the square that the model sees
    assert canvas.evaluate_all(pixel, [100, 50])[:3] != [120, 120, 120]


def test_names_of_files_and_classes_are_text(visit, start, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    page = visit(start(path=write_model(tmp_path, classes=(evil, "<b>bee</b>", "cow"))))
    page.set_input_files("#file", file(f"{evil}.png"))
    done(page, 1)
    expect(page.locator("figcaption")).to_have_text(f"{evil}.png")
    assert evil in page.locator(".row span:first-child").all_inner_texts()
    assert page.locator("#results img").count() == 1


def test_a_keyboard_is_enough(visit):
    page = visit()
    # listened for long before it opens: the browser has to be told to leave the choice to us, which takes its time
    page.once("filechooser", lambda chooser: chooser.set_files(file()))
    expect(page.locator("#classes summary")).to_be_visible()  # the model has introduced itself
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    outline = page.locator("#drop").evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Space")
    done(page, 1)
    page.locator("li button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("li canvas")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_sees_everything_without_moving_sideways(visit, scheme):
    page = visit(viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True, color_scheme=scheme)
    expect(page.locator("#camera")).to_be_visible()
    page.set_input_files("#shot", file("a very long name of a photograph that goes on and on and on.png"))
    done(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 384) == (scheme == "dark")


def test_a_token_is_asked_for(visit, start):
    page = visit(start("--token", "sesame"))
    expect(page.locator("#locked")).to_be_visible()
    expect(page.locator("#give")).to_be_hidden()
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#locked p")).to_have_text("That token is wrong.")
    page.fill("#token", "sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#give")).to_be_visible()
    page.set_input_files("#file", file())
    done(page, 1)
    page.reload()
    expect(page.locator("#give")).to_be_visible()


def test_a_server_that_is_gone_is_said(visit, start):
    passing = start()
    page = visit(passing)
    passing.end()
    page.set_input_files("#file", file())
    done(page, 1)
    expect(page.locator("li.wrong")).to_contain_text("The server does not answer.")


def test_without_an_image_there_is_a_blank_and_an_answer(visit):
    page = visit()
    page.set_input_files("#file", file("scan.tif", photo(format="TIFF"), "image/tiff"))
    done(page, 1)
    expect(page.locator(".blank")).to_have_text("no preview")
    expect(page.locator("li meter")).to_have_count(3)
