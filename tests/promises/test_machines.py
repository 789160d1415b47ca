"""Two machines: network namespaces with addresses of their own, torchrun's rendezvous between them."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.promises.test_processes import RECIPE, same_files

ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words):
    """Run the `ip` command."""
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def machines():
    """Return the names of two network namespaces that see each other; skip where they cannot be made."""
    names = [f"iv{os.getpid()}{side}" for side in "ab"]
    links = [f"v{os.getpid()}{side}" for side in "ab"]
    if shutil.which("ip") is None or ip("netns", "add", names[0]).returncode:
        pytest.skip("no `ip netns` here, or not allowed")
    try:
        ip("netns", "add", names[1])
        made = ip("link", "add", links[0], "type", "veth", "peer", "name", links[1])
        if made.returncode:
            pytest.skip(f"no virtual network here: {made.stderr.strip()}")
        for name, link, address in zip(names, links, ADDRESSES, strict=True):
            ip("link", "set", link, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield list(zip(names, links, ADDRESSES, strict=True))
    finally:
        for name in names:
            ip("netns", "del", name)


def start(machine, number, recipe, out, **environ):
    """Start torchrun on a machine, with one process; `out` of machine 1 is a folder that it alone sees."""
    name, link, address = machine
    words = ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
    words += ["--nproc-per-node", "1", "--node-rank", str(number), "--local-addr", address]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESSES[0]}:29400", "--rdzv-id", "test"]
    words += ["--rdzv-conf", f"is_host={int(number == 0)}"]  # its own guess goes by the host name, which both share
    words += ["-m", "ignite_vision", "run", str(recipe), "--out", str(out), "--checkpoint-every", "3", "--workers", "0"]
    variables = {"GLOO_SOCKET_IFNAME": link, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(out.parent / f"c{number}")}
    with (out.parent / f"{out.name}.log").open("w") as log:
        return subprocess.Popen(words, env={**os.environ, **variables, **environ}, stdout=log, stderr=log)


def ended(processes, patience=500):
    """Return the exit codes; what has not ended by then is killed."""
    limit = time.monotonic() + patience
    try:
        return [process.wait(max(1, limit - time.monotonic())) for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_one_of_two_machines_is_killed_and_the_same_commands_finish_the_run(machines, tmp_path):
    recipe = tmp_path / "noise_recipe.py"
    recipe.write_text(RECIPE)
    outs = [tmp_path / "run", tmp_path / "elsewhere"]  # the second machine does not see the first one's disk
    ends = {"HOW": "kill", "RANK_THAT_ENDS": "1"}
    killed = ended([start(m, n, recipe, outs[n], **ends) for n, m in enumerate(machines)])
    assert all(killed), (tmp_path / "run.log").read_text()[-3000:]
    assert not (outs[0] / "metrics.json").exists()
    assert ended([start(m, n, recipe, outs[n]) for n, m in enumerate(machines)]) == [0, 0], (
        tmp_path / "run.log"
    ).read_text()[-3000:]
    assert "resumed    from step 6" in (tmp_path / "run.log").read_text()
    assert not outs[1].exists()
    words = [sys.executable, "-m", "ignite_vision", "run", str(recipe), "--out", str(tmp_path / "one")]
    done = subprocess.run(
        [*words, "--nproc-per-node", "2", "--workers", "0"], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0
    assert same_files(tmp_path / "one", tmp_path / "run")
