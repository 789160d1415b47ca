"""Free memory, asked of the real machine."""

import pytest
import torch

from ignite_vision.system import memory

CPU = torch.device("cpu")


def test_free_memory_is_less_than_there_is():
    assert 0 < memory.free_memory(CPU) < 1 << 50


@pytest.mark.parametrize(("processes", "stays"), [(1, True), (2, True), (3, False)])
def test_rows_stay_where_a_quarter_of_what_is_free_holds_those_of_every_process(processes, stays, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 8_000_000)
    monkeypatch.setattr(memory.distributed, "local_count", lambda: processes)
    assert memory.fits(1_000_000, CPU) is stays


def test_where_there_is_no_shared_memory_it_limits_nothing(monkeypatch, tmp_path):
    assert memory.free_shared_memory() < 1 << 62 or not memory.SHARED_MEMORY.is_dir()
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "gone")
    assert memory.free_shared_memory() == 1 << 62


@pytest.mark.parametrize(
    ("limit", "used", "cached"),
    [
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_in_a_container_what_it_uses_already_is_not_free_but_its_file_cache_is(
    limit, used, cached, monkeypatch, tmp_path
):
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text("8000000\n")
    (tmp_path / used).write_text("7500000\n")
    (tmp_path / limit).with_name("memory.stat").write_text(f"anon 7000000\n{cached} 300000\nactive_file 100000\n")
    assert memory.free_memory(CPU) == 800_000


def test_a_container_without_a_limit_has_what_the_machine_has(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("7500000\n")
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    assert memory.free_memory(CPU) > 8_000_000
