"""run.json: what a run began as, and what differs when a command takes it up again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from ignite_vision.data.splits import content_hash, fingerprint, sample_digests
from ignite_vision.data.splits_csv import resized, write_csv
from ignite_vision.errors import UserError
from ignite_vision.identity import fields_of
from ignite_vision.loading.plan import Plan
from ignite_vision.prepare import Prepared
from ignite_vision.recipe import is_changed
from ignite_vision.run_directory import FORMAT_VERSION
from ignite_vision.source_code import file_hash
from ignite_vision.system import distributed
from ignite_vision.system.environment import record
from ignite_vision.system.files import replacing


def write_settings(prepared: Prepared, plan: Plan) -> None:
    """Write the recipe's source, splits.csv and run.json, last: before anything trains. Only process 0 does."""
    if not distributed.is_first():
        return
    with replacing(prepared.directory.recipe_copy) as copy:
        shutil.copyfile(prepared.loaded.source, copy)
    write_csv(prepared.splits, prepared.directory.splits)
    prepared.directory.write_settings(settings_of(prepared, plan))


def settings_of(prepared: Prepared, plan: Plan) -> dict[str, Any]:
    """What run.json says. JSON-plain."""
    splits = prepared.splits
    return {
        "format_version": FORMAT_VERSION,
        "name": prepared.loaded.name,
        "spec": prepared.loaded.spec,
        "overrides": prepared.overrides,
        "time": prepared.options.budget and {"seconds": prepared.options.budget, "epochs": None},
        "recipe": fields_of(prepared.recipe),
        "sources": prepared.loaded.sources(),
        "weights": prepared.weights,
        "weights_origin": prepared.origin,
        "data": {
            "folder": str(prepared.data),
            "fingerprint": fingerprint(splits),
            "sample": sample_digests(splits),
            "content": content_hash(splits) if prepared.options.verify_data else None,
            "sizes": {name: len(images) for name, images in splits.items()},
            "skipped": len(splits.skipped),
        },
        "classes": list(splits.classes),
        "preprocessing": prepared.preprocessing.to_dict(),
        "environment": record(prepared.device, prepared.precision),
        "cache": {"kind": plan.kind, "reason": plan.reason},
    }


def refuse_changes(prepared: Prepared, settings: dict[str, Any]) -> None:
    """UserError (exit 2) that names what differs from run.json, old -> new; epochs may."""
    old, new = settings["recipe"], json.loads(json.dumps(fields_of(prepared.recipe)))
    may = {"epochs"} | ({"weights"} if settings["weights"] == prepared.weights else set())  # moved ones are the same
    # of a field that is younger than the run, the default is what the run began with
    changed = {name: old[name] != new[name] if name in old else is_changed(prepared.recipe, name) for name in new}
    names = [name for name in new if changed[name] and name not in may]
    if names:
        changes = ", ".join(f"{name}: {old.get(name)!r} -> {new[name]!r}" for name in names)
        hint = "Undo that, or choose another --out."
        raise UserError(f"this run began with another recipe: {changes}", prepared.directory, hint)
    if settings["weights"] != prepared.weights:
        what = "the content of the weights changed since this run began"
        raise UserError(what, prepared.recipe.weights, "Restore them, or choose another --out.")
    _refuse_changed_data(prepared, settings["data"])


def _refuse_changed_data(prepared: Prepared, before: dict[str, Any]) -> None:
    splits, verify = prepared.splits, prepared.options.verify_data
    if before["fingerprint"] != fingerprint(splits):
        found = resized(splits, prepared.directory.splits) or ["pixels or labels"]
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        what = f"the data changed since this run began: {', '.join(found[:3])}{more}"
        raise UserError(what, prepared.data, "Restore it, or choose another --out.")
    if verify and before.get("content") is None:
        raise UserError("this run began without --verify-data", prepared.directory, "Leave it out.")
    if (verify and before["content"] != content_hash(splits)) or before["sample"] != sample_digests(splits):
        what = "the content of a file changed since this run began, not its size"
        raise UserError(what, prepared.data, "Restore the data, or choose another --out.")


def changed_sources(prepared: Prepared, settings: dict[str, Any]) -> list[str]:
    """Files of the recipe whose code is not what it was when the run began: the same fields may do something else.

    A new file does not count: another recipe of the same folder may have brought it into this process. Nor does one
    that is there as it was, and is not imported this time.
    """
    old, new = settings["sources"], prepared.loaded.sources()
    folder = Path(prepared.loaded.spec).parent
    idle = {name: file_hash(folder / name) for name in old.keys() - new.keys() if (folder / name).is_file()}
    return sorted(name for name in old if old[name] != (new | idle).get(name))


def changed_environment(
    settings: dict[str, Any], device: torch.device, precision: str, but: tuple[str, ...] = ()
) -> list[str]:
    """What differs outside recipe and data, as `subject: old -> new`; the run continues, not exact.

    but: keys that are not looked at.
    """
    old, new = settings["environment"], record(device, precision)
    old, new = {**old, **old["versions"]}, {**new, **new["versions"]}
    keys = [key for key in new if key not in ("versions", *but) and old.get(key) != new[key]]
    return [f"{key}: {old.get(key)} -> {new[key]}" for key in keys]
