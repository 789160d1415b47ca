"""`serve`: a trained model as a web page and an HTTP interface."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from ignite_vision.cli.console import say
from ignite_vision.cli.options import PATH, device
from ignite_vision.errors import UserError

NEEDED = ("starlette", "uvicorn", "h11")
HOST = "Address to listen on. Any but this machine's own lets others in, and needs --allow-host."
ALLOW = "Host name or address, without port, that clients may use besides localhost; repeatable. '*' for any."
TOKEN = "Answer only those who send it as `Authorization: Bearer TOKEN`.  [env: IGNITE_VISION_TOKEN]"
PRECISION = "auto, fp32, bf16 or fp16.  [default: that of the training]"
THREADS = "Number of processor threads that compute.  [default: as torch chooses]"


@click.command()
@click.argument("model", type=PATH)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help=HOST)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any that is free.")
@click.option("--allow-host", "allowed", multiple=True, metavar="NAME", help=ALLOW)
@click.option("--token", metavar="TOKEN", envvar="IGNITE_VISION_TOKEN", help=TOKEN)
@device
@click.option("--precision", metavar="NAME", help=PRECISION)
@click.option("--threads", type=click.IntRange(1), metavar="N", help=THREADS)
def serve(
    model: Path,
    host: str,
    port: int,
    allowed: tuple[str, ...],
    token: str | None,
    device: str,
    precision: str | None,
    threads: int | None,
) -> None:
    """Serve MODEL as a web page and an HTTP interface.

    MODEL is a run directory or its model.safetensors.

    \b
    ignite-vision serve runs/photos-1a2b3c     the page is at http://127.0.0.1:8000
    curl --data-binary @cat.jpg http://127.0.0.1:8000/predict

    Ctrl-C or SIGTERM finishes what has been asked, then stops.
    """  # noqa: D301  (click's mark for lines that stay as they are)
    expect_installed()
    if model.suffix.lower() == ".onnx":
        hint = "Pass the run directory or its model.safetensors: what an ONNX file computes has no bounds."
        raise UserError("serve reads no ONNX", model, hint)
    import torch

    from ignite_vision.inference.classifier import Classifier
    from ignite_vision.serve.server import LOOPBACK, is_loopback, listen
    from ignite_vision.serve.server import serve as answer
    from ignite_vision.system.process import ready_to_compute
    from ignite_vision.system.signals import leave_on_signals

    leave_on_signals("")
    ready_to_compute()
    if threads is not None:
        torch.set_num_threads(threads)
    public = not is_loopback(host)
    if public and not allowed:
        hint = "Name the hosts that clients use, as --allow-host NAME, or leave --host out."
        raise UserError(f"--host {host} lets other machines in", next_step=hint)
    if token is not None and (not token or not token.isprintable() or token != token.strip()):
        why = "has characters that cannot be sent, or spaces around it" if token else "is empty"
        raise UserError(f"the token {why}", next_step="Choose another one, or leave --token out.")
    names = tuple(map(host_name, allowed))
    listener = listen(host, port)
    classifier = Classifier.load(model, precision=precision, device=device)
    if public:
        say(warning(host, token))
    address, number, *_ = listener.getsockname()
    shown = f"[{address}]" if ":" in address else address
    what = f"{len(classifier.classes)} classes on {classifier.device} in {classifier.precision}"
    said = f"serving {what} at http://{shown}:{number}. Ctrl-C stops."
    answer(classifier, listener, (*LOOPBACK, *names), token, lambda: say(said))
    say("stopped.")


def expect_installed() -> None:
    """Raise UserError when a package of the extra is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"`serve` needs {' and '.join(missing)}", next_step="pip install 'ignite-vision[serve]'")


def host_name(text: str) -> str:
    """Return the name of a host as clients write it, IPv6 without brackets. UserError for a URL or a port."""
    name = text.strip("[]")
    if not name or "/" in name or (":" in name and name.count(":") < 2):
        raise UserError(f"'{text}' is no host", next_step="Leave out http:// and the port: --allow-host example.com.")
    return name


def warning(host: str, token: str | None) -> str:
    """Say what listening on a public address means."""
    who = "whoever has the token" if token else "whoever reaches this machine; --token TOKEN keeps them out"
    return f"warning: {host} is open to other machines, unencrypted. The model answers {who}."
