"""Build every classifier of timm with 7 classes, without memory, and say which can be trained, and how.

    python -m benchmarks.families [--only 'vit_*'] > benchmarks/results/timm.md

Needs no network and no weights. Takes about 40 minutes of one core for all of them.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import importlib.metadata
import sys
import time
import warnings
from collections import defaultdict

import torch
from torch import nn

from ignite_vision import models
from ignite_vision.errors import UserError
from ignite_vision.identity import MODULE_ATTRIBUTES, describe
from ignite_vision.models.head import find_head, split_at_head
from ignite_vision.models.meta import answer_shape, without_memory

CLASSES = 7
WORKS = "works, and its features are computed once"
FAILURES = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, LookupError, NotImplementedError)


def verdict(name: str) -> str:
    """Return WORKS, or in a few words what stands against this network."""
    try:
        spec = models.input_of(name)
        size = spec.size or models.weights_preprocessing(name, "DEFAULT").crop  # type: ignore[union-attr]
        network = without_memory(lambda: models.build(name, CLASSES, image_size=size))
        head = find_head(network)[1]
        if getattr(head, "out_features", getattr(head, "out_channels", 0)) != CLASSES:
            return "its last layer is not its head: can only be trained whole, without weights"
        return of_features(network, size)
    except UserError as error:
        return f"refused: {error.what.removeprefix(name)}"
    except FAILURES as error:
        return f"cannot be built or called: {type(error).__name__}: {' '.join(str(error).split())[:90]}"


def of_features(network: nn.Module, size: int) -> str:
    """What stands against computing the network's features once. It is on the meta device."""
    caught: list[torch.Tensor] = []
    first, part = split_at_head(network)
    first.register_forward_pre_hook(lambda _layer, inputs: caught.append(inputs[0]))
    if answer_shape(network, 3, size) != (2, CLASSES):
        return "its answer is not one number a class"
    with torch.no_grad():
        try:
            if not caught or part(caught[0]).shape != (2, CLASSES):
                return "computes something after its head: trains, with no features kept"
        except FAILURES:
            return "computes something after its head: trains, with no features kept"
    try:
        for module in network.modules():
            describe({k: v for k, v in vars(module).items() if k not in MODULE_ATTRIBUTES})
    except UserError as error:
        return f"cannot be described, so no features are kept: {error.what}"
    return WORKS


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="a pattern of names")
    pattern = parser.parse_args().only
    warnings.simplefilter("ignore")
    names = [name for name in models.names() if fnmatch.fnmatch(name, f"timm:{pattern}")]
    found: dict[str, list[str]] = defaultdict(list)
    begin = time.monotonic()
    for i, name in enumerate(names):
        start = time.monotonic()
        result = verdict(name)
        found[result].append(name.removeprefix("timm:"))
        print(f"{i + 1}/{len(names)} {name} {time.monotonic() - start:.1f} s: {result}", file=sys.stderr, flush=True)
        gc.collect()
    print(
        f"timm {importlib.metadata.version('timm')}, torch {torch.__version__}: {len(names):,} classifiers, built with"
    )
    print(f"{CLASSES} classes on the meta device in {(time.monotonic() - begin) / 60:.0f} minutes.\n")
    print("| networks | what was found | which |\n|---|---|---|")
    for result, which in sorted(found.items(), key=lambda item: -len(item[1])):
        shown = "" if result == WORKS else ", ".join(which)
        print(f"| {len(which):,} | {result} | {shown} |")


if __name__ == "__main__":
    main()
