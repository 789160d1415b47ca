"""TODO."""

from __future__ import annotations

import json
import shutil
from typing import Any

from ignite_vision.data.splits import content_hash, fingerprint
from ignite_vision.data.splits_csv import resized, write_csv
from ignite_vision.errors import UserError
from ignite_vision.identity import fields_of
from ignite_vision.system import distributed, environment
from ignite_vision.system.files import write_atomically

try:
    import fcntl
except ImportError:  # not on Windows: there, nothing keeps two runs out of one directory
    fcntl = None  # type: ignore[assignment]
from ignite_vision.run_directory import FORMAT_VERSION
from ignite_vision.training.run import Run


def write_settings(run: Run) -> None:
    """Write the recipe's source, run.json and splits.csv: before anything trains. Only process 0 does."""
    if not distributed.is_first():
        return
    shutil.copyfile(run.loaded.source, run.directory / "recipe.py")
    write_csv(run.splits, run.directory / "splits.csv")
    write_atomically(run.directory / "run.json", json.dumps(settings_of(run), indent=2) + "\n")


def settings_of(run: Run) -> dict[str, Any]:
    """What run.json says. JSON-plain."""
    return {
        "format_version": FORMAT_VERSION,
        "name": run.loaded.name,
        "spec": run.loaded.spec,
        "overrides": run.overrides,
        "recipe": fields_of(run.recipe),
        "data": {
            "folder": str(run.data),
            "fingerprint": fingerprint(run.splits),
            "content": content_hash(run.splits) if run.verify_data else None,
            "sizes": {name: len(getattr(run.splits, name)) for name in ("train", "val", "test")},
        },
        "classes": list(run.splits.classes),
        "preprocessing": run.preprocessing.to_dict(),
        "environment": environment.record(run.device, run.precision),
        "cache": {"kind": run.plan.kind, "reason": run.plan.reason},
    }


def refuse_changes(run: Run, settings: dict[str, Any]) -> None:
    """UserError (exit 2) that names every recipe field that differs from run.json, old -> new; epochs may."""
    old, new = settings["recipe"], json.loads(json.dumps(fields_of(run.recipe)))
    names = [name for name in new if name != "epochs" and name in old and old[name] != new[name]]
    if names:
        changes = ", ".join(f"{name}: {old.get(name)!r} -> {new[name]!r}" for name in names)
        raise UserError(
            f"this run began with another recipe: {changes}",
            run.directory,
            "Undo that, or choose another --out.",
        )
    if settings["data"]["fingerprint"] != fingerprint(run.splits):
        found = resized(run.splits, run.directory / "splits.csv") or ["pixels or labels"]
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        what = f"the data changed since this run began: {', '.join(found[:3])}{more}"
        raise UserError(what, run.data, "Restore it, or choose another --out.")
    if run.verify_data and settings["data"].get("content") is None:
        raise UserError("this run began without --verify-data", run.directory, "Leave it out.")
    if run.verify_data and settings["data"]["content"] != content_hash(run.splits):
        what = "the content of a file changed since this run began, not its size"
        raise UserError(what, run.data, "Restore the data, or choose another --out.")


def changed_source(run: Run) -> list[str]:
    """`recipe file` if its text is another than when the run began: the same fields may do something else now."""
    before = run.directory / "recipe.py"
    if not before.is_file() or before.read_bytes() == run.loaded.source.read_bytes():
        return []
    return [f"the text of {run.loaded.source}"]


def changed_environment(run: Run, settings: dict[str, Any], but: tuple[str, ...] = ()) -> list[str]:
    """What differs outside recipe and data, as `subject: old -> new`; the run goes on, not exact.

    but: keys that are not looked at.
    """
    old, new = settings["environment"], environment.record(run.device, run.precision)
    old, new = {**old, **old["versions"]}, {**new, **new["versions"]}
    keys = [key for key in new if key not in ("versions", *but) and old.get(key) != new[key]]
    return [f"{key}: {old.get(key)} -> {new[key]}" for key in keys]
