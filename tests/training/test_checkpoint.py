"""Checkpoints: whole or not believed, never the last good one deleted first, and never code."""

import dataclasses
import errno
import json
import os
import stat

import pytest
import torch
from ignite.engine import Events

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.training import fit
from ignite_vision.training.checkpoint import Damaged, seal, steps, verify
from tests.helpers.runs import begun, fitted, said, train


def trained(make_run, **fields):
    prepared = make_run(**fields)
    train(prepared)
    return prepared


def save_the_epoch_before(run):
    @run.trainer.on(Events.EPOCH_STARTED(event_filter=lambda _, epoch: epoch > 1))
    def save():
        run.save()


def saving_each_epoch(prepared):
    """Save at every epoch's end, as a run of hours does."""
    fitted(dataclasses.replace(prepared, recipe=dataclasses.replace(prepared.recipe, handlers=save_the_epoch_before)))
    return steps(prepared.directory.checkpoints)


def test_a_checkpoint_holds_what_the_documentation_says(make_run):
    run = trained(make_run)
    (last,) = steps(run.directory.checkpoints)
    assert last.name == "step-0000000008-validated"
    assert {p.name for p in last.iterdir()} == {"manifest.json", "model.safetensors", "best.safetensors", "train.pt"}
    manifest = verify(last)
    assert (manifest["step"], manifest["epoch"], manifest["validated"]) == (8, 2, True)


def test_files_can_be_read_by_whoever_may_read_new_files(make_run):
    run = trained(make_run)
    (run.directory / "plain").touch()
    usual = stat.S_IMODE((run.directory / "plain").stat().st_mode)
    assert stat.S_IMODE((run.directory / "model.safetensors").stat().st_mode) == usual


def test_a_checkpoint_is_saved_where_folders_cannot_be_synced(make_run, monkeypatch):
    fsync = os.fsync

    def files_only(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", files_only)
    assert steps(fitted(make_run()).directory.checkpoints)


def test_the_newest_two_are_kept(make_run):
    left = saving_each_epoch(make_run(epochs=4))
    assert [path.name for path in left] == ["step-0000000012-validated", "step-0000000016-validated"]


def test_one_flipped_bit_anywhere_is_found(make_run):
    run = trained(make_run)
    (last,) = steps(run.directory.checkpoints)
    for name in ("model.safetensors", "best.safetensors", "train.pt"):
        data = bytearray((last / name).read_bytes())
        data[len(data) // 2] ^= 16
        (last / name).write_bytes(data)
        with pytest.raises(Damaged, match=f"{name} is missing or not as it was written"):
            verify(last)
        data[len(data) // 2] ^= 16
        (last / name).write_bytes(data)
    assert verify(last)


def test_every_bit_of_the_manifest_counts(make_run):
    run = trained(make_run, epochs=1)
    path = steps(run.directory.checkpoints)[-1] / "manifest.json"
    data = path.read_bytes()
    for bit in range(0, 8 * len(data), 7):
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :])
        with pytest.raises(Damaged):
            verify(path.parent)


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", "{}", '{"format_version": 99, "files": {}}', '{"format_version": 1, "files": {"../../x": 1}}'],
)
def test_a_manifest_that_is_not_ours_is_damage(make_run, manifest):
    run = trained(make_run)
    (last,) = steps(run.directory.checkpoints)
    (last / "manifest.json").write_text(manifest)
    with pytest.raises(Damaged):
        verify(last)


def test_no_path_is_taken_from_a_manifest(make_run, tmp_path):
    run = trained(make_run)
    (last,) = steps(run.directory.checkpoints)
    manifest = json.loads((last / "manifest.json").read_text())
    manifest["files"]["../../run.json"] = manifest["files"]["train.pt"]
    (last / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Damaged, match="foreign file"):
        verify(last)


def test_a_damaged_one_is_named_kept_aside_and_the_one_before_is_used(make_run):
    before = make_run(epochs=4)
    newest = saving_each_epoch(before)[-1]
    history = (before.directory / "history.jsonl").read_bytes()
    (newest / "train.pt").write_bytes(b"")
    run = trained(make_run, epochs=4, handlers=save_the_epoch_before)
    assert any("skipping damaged checkpoint" in line and newest.name in line for line in said(run))
    assert list((run.directory.checkpoints).glob(f"damaged-{newest.name}*"))
    assert (run.directory / "history.jsonl").read_bytes() == history  # the last epoch, trained again to the same bits


def test_if_none_verifies_all_are_named_and_nothing_is_deleted(make_run):
    run = make_run(epochs=4)
    for path in saving_each_epoch(run):
        (path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint verifies: step-.*; step-") as failure:
        trained(make_run, epochs=4, handlers=save_the_epoch_before)
    assert failure.value.code == DAMAGED
    assert len(list((run.directory.checkpoints).glob("damaged-*"))) == 2


def test_what_a_killed_writer_left_is_cleaned_up(make_run):
    run = make_run()
    for name in (".tmp-step-0000000004", ".del-step-0000000002"):
        (run.directory.checkpoints / name).mkdir(parents=True)
    fit(begun(run))
    assert not list((run.directory.checkpoints).glob(".*"))


def test_a_pickle_in_a_checkpoint_is_never_run(make_run, tmp_path, monkeypatch):
    class Malice:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    run = trained(make_run)
    (last,) = steps(run.directory.checkpoints)
    torch.save({"model": Malice()}, last / "train.pt")
    manifest = json.loads((last / "manifest.json").read_text())
    import hashlib

    data = (last / "train.pt").read_bytes()
    manifest["files"]["train.pt"] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["seal"] = seal(manifest)
    (last / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(UserError, match="train.pt") as failure:
        trained(make_run, epochs=3)
    assert failure.value.code == DAMAGED
    assert not (tmp_path / "canary").exists()
