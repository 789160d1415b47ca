"""What serving costs: throughput against the bare model, a lone request, memory, and connections left half open.

python -m benchmarks.serve [MODEL]

MODEL: a run directory or its model.safetensors; without one, mobilenet_v2 with random weights. The server and the bare
model compute in one thread, so that the clients have a processor too. Linux only.
"""

from __future__ import annotations

import http.client
import io
import itertools
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ignite_vision import Classifier, models
from ignite_vision.data.images import decode
from ignite_vision.models.model_file import write_model
from ignite_vision.serve.answering import BATCHES
from ignite_vision.system.process import tune_processor

SECONDS, ROUNDS = 3.0, 5
REPEATS = 200  # of a lone request
CLIENTS = (1, 8, 32)
REQUESTS, EVERY = 10_000, 100  # of the memory test; one in EVERY is a bomb, one is no image
HALF_OPEN = 300


def main() -> None:
    """Print a table."""
    tune_processor()  # as the server does
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else random_model(Path(folder), "mobilenet_v2", 224)
        speed(path)
        memory(random_model(Path(folder), "cifar10_cnn", 32))


def random_model(folder: Path, name: str, side: int) -> Path:
    """Write a model file of ten classes."""
    preprocessing = {"channels": 3, "resize": side * 8 // 7, "crop": side, "interpolation": "bilinear"}
    header = {
        "task": "single-label",
        "architecture": f"{'ignite_vision' if name == 'cifar10_cnn' else 'torchvision'}:{name}",
        "num_classes": 10,
        "classes": [str(k) for k in range(10)],
        "preprocessing": {**preprocessing, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "precision": "fp32",
        "temperature": 1.0,
    }
    path = folder / f"{name}.safetensors"
    write_model(path, models.build(name, 10).state_dict(), header)
    return path


def photos(n: int = 32) -> list[bytes]:
    """JPEG files of 500x375 pixels, about as hard to decode as photographs."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(n):
        coarse = Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


@contextmanager
def server(path: Path) -> Iterator[tuple[int, int]]:
    """Within, (port, process id) of a server in a process of its own."""
    command = [sys.executable, "-m", "ignite_vision", "serve", str(path), "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        (port,) = re.findall(r"http://[\d.]+:(\d+)", process.stderr.readline())
        try:
            yield int(port), process.pid
        finally:
            process.terminate()


def ask(link: http.client.HTTPConnection, body: bytes) -> int:
    """Status of one request."""
    link.request("POST", "/predict", body)
    response = link.getresponse()
    response.read()
    return response.status


def load(port: int, clients: int, files: list[bytes], seconds: float) -> float:
    """Answers per second."""
    end, counts = time.monotonic() + seconds, [0] * clients

    def client(k: int) -> None:
        link = http.client.HTTPConnection("127.0.0.1", port)
        for i in itertools.count(k):
            if time.monotonic() > end:
                return
            counts[k] += ask(link, files[i % len(files)]) == 200

    threads = [threading.Thread(target=client, args=(k,)) for k in range(clients)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begin)


def bare(classifier: Classifier, canvases: torch.Tensor, seconds: float) -> float:
    """Images per second of forward passes alone."""
    begin, n = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        classifier.probabilities(canvases, BATCHES)
        n += len(canvases)
    return n / (time.monotonic() - begin)


def processor_seconds(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def anonymous_memory(pid: int) -> float:
    """MB that are not of files."""
    return int(re.findall(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def speed(path: Path) -> None:
    """Served against bare, in alternation."""
    classifier, files = Classifier.load(path), photos()
    canvases = torch.stack([classifier.canvas(decode(file, "photo")) for file in files[:16]])
    for n in (1, 16):
        bare(classifier, canvases[:n], 0.5)
    with server(path) as (port, pid):
        load(port, 8, files, 1)
        for clients in CLIENTS:
            pairs, costs = [], []
            for _ in range(ROUNDS):
                own = time.process_time()
                alone = bare(classifier, canvases[: min(16, clients)], SECONDS)
                own_cost = (time.process_time() - own) / (alone * SECONDS)
                before = processor_seconds(pid)
                served = load(port, clients, files, SECONDS)
                costs.append((1000 * (processor_seconds(pid) - before) / (served * SECONDS), 1000 * own_cost))
                pairs.append((served, alone))
            print(line(clients, pairs, costs), flush=True)
        print(lone(port, classifier, canvases[0], files[0]), flush=True)
        half_open(port, files)


def line(clients: int, pairs: list[tuple[float, float]], costs: list[tuple[float, float]]) -> str:
    """Say it in words."""
    ratios = [served / alone for served, alone in pairs]
    cost, own = (statistics.median(values) for values in zip(*costs, strict=True))
    text = f"{clients:3} clients: {statistics.median(ratios):.0%} of the bare model's images per second"
    text += f" ({min(ratios):.0%}–{max(ratios):.0%}); processor {cost:.1f} ms an image, bare {own:.1f}"
    return text


def lone(port: int, classifier: Classifier, canvas: torch.Tensor, file: bytes) -> str:
    """A request with nothing else under way, and a forward pass, in turn."""
    link = http.client.HTTPConnection("127.0.0.1", port)
    served, alone = [], []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        ask(link, file)
        between = time.perf_counter()
        classifier.probabilities(canvas[None], BATCHES)
        served.append(1000 * (between - begin))
        alone.append(1000 * (time.perf_counter() - between))
    more = statistics.median(served) - statistics.median(alone)
    return f"a lone request takes {statistics.median(served):.1f} ms, {more:.1f} ms more than the model alone"


def half_open(port: int, files: list[bytes]) -> None:
    """Good requests beside connections that sent half a head or half a body."""
    halves = (b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nCont", b"\r\n\r\n" + b"x" * 1000)
    links = []
    for i in range(HALF_OPEN):
        link = socket.create_connection(("127.0.0.1", port))
        link.sendall(halves[0] + (b"ent-Length: 100000" + halves[1] if i % 2 else b""))
        links.append(link)
    with_them = load(port, 8, files, SECONDS)
    for link in links:
        link.close()
    without = load(port, 8, files, SECONDS)
    print(f"{HALF_OPEN} half-open connections: {with_them / without:.0%} of the throughput without them", flush=True)


def bomb(side: int = 6_000) -> bytes:
    """A black PNG of 36 megapixels in 100 kB."""
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "PNG")
    return file.getvalue()


def memory(path: Path) -> None:
    """Anonymous memory of the server over many requests, bombs among them; after each 1,000, with nothing under way."""
    bodies = photos(EVERY - 2) + [bomb(), b"no image"]
    with server(path) as (port, pid):
        seen = []
        for _ in range(REQUESTS // 1000):
            send(port, bodies, 1000)
            time.sleep(0.5)
            seen.append(anonymous_memory(pid))
    print(f"memory over {REQUESTS:,} requests, {REQUESTS // EVERY} of them bombs, MB after each 1,000:")
    print("  " + ", ".join(f"{value:.0f}" for value in seen))


def send(port: int, bodies: list[bytes], n: int) -> None:
    """Ask n times, from eight clients."""
    todo = iter(range(n))

    def client() -> None:
        link = http.client.HTTPConnection("127.0.0.1", port)
        for i in todo:
            ask(link, bodies[i % len(bodies)])

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
