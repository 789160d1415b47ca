"""What the routes answer, in JSON whatever happens."""

import http.client
import io
import re
from pathlib import Path

import pytest
from PIL import Image

import ignite_vision.serve
from ignite_vision.serve.app import MAX_BODY
from tests.helpers.classifiers import CLASSES, write_model
from tests.helpers.servers import With, bomb, head, photo, read, tell_of_writing, written

FOLDER = Path(ignite_vision.serve.__file__).parent


def refused(answer, status, *words):
    """In the one shape that every refusal has."""
    assert (answer.status, list(answer.body)) == (status, ["error"]), answer
    for word in words:
        assert word in answer.body["error"]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_an_image_is_answered_with_its_most_probable_classes(server, format):
    answer = server.predict(photo(format=format))
    assert answer.status == 200
    assert (answer.body["class"], answer.body["sure"]) == (None, False)  # it is never sure of anything
    assert {row["class"] for row in answer.body["top"]} == set(CLASSES)
    assert sum(row["probability"] for row in answer.body["top"]) == pytest.approx(1, abs=1e-5)


def test_the_orientation_of_a_photograph_counts(server, tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6  # lies on its right side
    Image.open(io.BytesIO(photo(size=(40, 80)))).save(tmp_path / "lying.png", exif=tags)
    answer = server.predict((tmp_path / "lying.png").read_bytes(), "?heatmap=1")
    assert answer.body["heat_map"]["image"] == {"height": 80, "width": 40}


@pytest.mark.parametrize("query", ["?top=0", "?top=1001", "?top=-1", "?top=x", "?top=", "?top=%D9%A3", "?top=1e3"])
def test_a_wrong_number_of_classes_is_refused(server, query):
    refused(server.predict(photo(), query), 400, "from 1 to 1000")


@pytest.mark.parametrize("query", ["?heatmap=yes", "?heatmap=2", "?heatmap="])
def test_a_heat_map_is_wanted_or_not(server, query):
    refused(server.predict(photo(), query), 400, "0 or 1")


def test_the_number_of_classes_can_be_chosen(server):
    assert len(server.predict(photo(), "?top=1").body["top"]) == 1


@pytest.mark.parametrize(
    "body", [b"no image", photo()[:500], photo(format="JPEG")[:-900], b"<svg/>", b"\0" * 9999], ids=lambda b: str(b[:8])
)
def test_what_is_no_image_or_a_damaged_one_is_415(server, body):
    refused(server.predict(body), 415, "cannot read image", "JPEG, PNG")


def test_an_empty_body_is_400(server):
    refused(server.predict(b""), 400, "empty")
    refused(server.predict(None), 400, "empty")


def test_too_many_bytes_are_413_whether_they_are_announced_or_not(server):
    refused(server.predict(b"\0" * (MAX_BODY + 1)), 413, f"{MAX_BODY:,} bytes")
    chunks = iter([b"\0" * (1 << 20)] * 21)
    with server.connect(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n") as link:
        for chunk in chunks:
            link.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        assert link.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_large_file_that_is_announced_is_refused_before_it_is_sent(server):
    with server.connect(head(10**12)) as link:
        assert link.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_too_many_pixels_are_413(server):
    refused(server.predict(bomb(7_100, 7_100)), 413, "50,000,000 pixels")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/predict/", "//etc/passwd", "/../../etc/passwd", "/%2e%2e/etc/passwd", "/%00"]
)
def test_other_paths_lead_nowhere(server, path):
    refused(server.ask("GET", path), 404)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/predict"), ("PUT", "/predict"), ("POST", "/"), ("DELETE", "/model")]
)
def test_other_methods_are_405(server, method, path):
    refused(server.ask(method, path), 405)


def test_the_model_is_described(server):
    model = server.ask("GET", "/model").body
    assert model["classes"] == list(CLASSES)
    assert model["preprocessing"]["crop"] == 32
    assert (model["precision"], model["device"]) == ("fp32", "cpu")
    assert (model["temperature"], model["abstain_below"]) == (0.5, 0.99)
    assert model["metrics"] == {"accuracy": 0.9}
    assert model["heat_maps"] is True
    assert model["limits"] == {"bytes": MAX_BODY, "pixels": 50_000_000}


def test_a_header_with_numbers_that_json_does_not_know_is_described_without_them(start, tmp_path):
    odd = start(path=write_model(tmp_path, metrics={"loss": float("nan")}))
    assert "metrics" not in odd.ask("GET", "/model").body


def test_class_names_are_text_whatever_is_in_them(start, tmp_path):
    names = ("<img src=x onerror=alert(1)>", "ünï\u2028", '"')
    odd = start(path=write_model(tmp_path, classes=names))
    assert odd.ask("GET", "/model").body["classes"] == list(names)
    assert {row["class"] for row in odd.predict(photo()).body["top"]} == set(names)


def test_metrics_count_what_was_asked(start):
    fresh = start()
    fresh.predict(photo())
    fresh.predict(b"no image")
    fresh.ask("GET", "/")
    answer = fresh.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert 'ignite_vision_requests_total{status="200"} 1\n' in text
    assert 'ignite_vision_requests_total{status="415"} 1\n' in text
    assert "ignite_vision_images_total 1\n" in text


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/openapi.json", "application/json"),
    ],
)
def test_the_page_and_its_files_are_served_and_name_no_other_server(server, path, kind):
    answer = server.ask("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"].partition(";")[0] == kind
    text = (FOLDER / ("page.html" if path == "/" else path[1:])).read_text()
    assert "https://" not in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert server.ask("HEAD", path).status == 200


def test_the_page_has_nothing_inline_that_its_policy_would_forbid():
    page = (FOLDER / "page.html").read_text()
    assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", page)
    assert re.findall(r"<script[^>]*>(.*?)</script>", page) == [""]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", (FOLDER / "page.js").read_text()
    )


def test_the_description_names_every_route_and_what_it_answers(server):
    described = server.ask("GET", "/openapi.json").body
    assert set(described["paths"]) == {"/predict", "/model", "/healthz", "/metrics"}
    responses = described["paths"]["/predict"]["post"]["responses"]
    assert set(responses) == {"200", "400", "401", "403", "408", "413", "415", "500", "503"}
    properties = described["components"]["schemas"]["Prediction"]["properties"]
    assert set(server.predict(photo(), "?heatmap=1").body) == set(properties)
    assert set(server.ask("GET", "/model").body) <= set(described["components"]["schemas"]["Model"]["properties"])


def test_a_body_that_does_not_come_is_408_and_one_that_is_left_unsent_harms_nobody(start):
    hurried = start(plan=With({"serve.app.BODY_SECONDS": 0.5}))
    with hurried.connect(head(100_000) + b"x" * 1000) as link:
        assert link.recv(65536).startswith(b"HTTP/1.1 408 ")
    hurried.connect(head(100_000) + b"x" * 1000).close()
    assert hurried.predict(photo()).status == 200


def test_bodies_have_only_so_much_memory_together(start):
    small = start(plan=With({"serve.app.MAX_BODIES": 50_000}))
    with small.connect(head(60_000) + b"x" * 49_000):
        for _ in range(1000):
            answer = small.predict(photo())
            if answer.status == 503:
                break
        assert answer.headers["retry-after"] == "1"
    for _ in range(1000):
        if small.predict(photo()).status == 200:
            break
    assert small.predict(photo()).status == 200


def test_without_room_the_answer_is_503_at_once(start):
    full = start(plan=With({"serve.answering.ROOM": 0}))
    answer = full.predict(photo())
    refused(answer, 503, "too many requests")
    assert answer.headers["retry-after"] == "1"


def test_a_failure_inside_is_500_without_its_words_and_the_next_request_is_answered(start):
    failing = start(plan=FailFor(b"MARK"))
    refused(failing.predict(photo() + b"MARK"), 500, "its log says why")
    failing.child.wait_for("secret words")
    assert failing.predict(photo()).status == 200


class FailFor:
    """A plan: decoding a file that ends so fails as nobody foresaw."""

    def __init__(self, end):
        self.end = end

    def __call__(self):
        from ignite_vision.serve import answering

        whole = answering.decode

        def decode(data, name, *how):
            if data.endswith(self.end):
                raise RecursionError("secret words")
            return whole(data, name, *how)

        answering.decode = decode


def test_no_file_is_written_whatever_is_sent(start):
    watched = start(plan=tell_of_writing)
    for body in (photo(), photo(format="TIFF"), bomb(5_000, 4_000), b"\0" * (2 << 20), b"no image"):
        watched.predict(body)
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        + b"\0" * (2 << 20)
        + b"\r\n--x--\r\n"
    )
    refused(watched.predict(form, Content_Type="multipart/form-data; boundary=x"), 415)
    watched.ask("GET", "/")
    assert list(written(watched.child)) == []


def test_one_connection_asks_many_times(server):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for seed in range(3):
        link.request("POST", "/predict", photo(seed))
        assert read(link.getresponse()).status == 200
    link.request("GET", "/healthz")
    assert read(link.getresponse()).body == {"ok": True}
    link.close()
