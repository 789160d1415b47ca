"""What is there together is computed together; what is there alone does not wait."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ignite_vision.serve.batcher import Batcher


def run(scenario, work, most=4):
    """Run a scenario with a batcher that runs."""

    async def with_batcher():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(work, most, executor)
            task = asyncio.create_task(batcher.run())
            try:
                return await scenario(batcher)
            finally:
                task.cancel()

    return asyncio.run(with_batcher())


def double(batch):
    return [2 * item for item in batch]


def test_a_lone_item_is_computed_alone_and_at_once():
    async def scenario(batcher):
        assert await batcher(3) == 6
        return batcher.batches

    assert run(scenario, double) == 1


def test_each_gets_its_own_result_and_no_batch_is_larger_than_it_may_be():
    sizes = []

    def work(batch):
        sizes.append(len(batch))
        return double(batch)

    async def scenario(batcher):
        assert await asyncio.gather(*map(batcher, range(10))) == [2 * i for i in range(10)]

    run(scenario, work)
    assert sum(sizes) == 10
    assert max(sizes) == 4


def test_while_one_batch_is_computed_the_next_gathers():
    go, sizes = threading.Event(), []

    def work(batch):
        sizes.append(len(batch))
        go.wait(10)
        return batch

    async def scenario(batcher):
        first = asyncio.create_task(batcher(0))
        while not sizes:
            await asyncio.sleep(0)
        others = [asyncio.create_task(batcher(i)) for i in (1, 2, 3)]
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, *others)

    run(scenario, work)
    assert sizes == [1, 3]


def test_an_error_reaches_everyone_of_its_batch_and_the_next_batch_is_computed():
    def work(batch):
        if "bad" in batch:
            raise RuntimeError("out of memory")
        return batch

    async def scenario(batcher):
        results = await asyncio.gather(batcher("bad"), batcher("beside"), return_exceptions=True)
        assert [str(result) for result in results] == ["out of memory"] * 2
        return await batcher("next")

    assert run(scenario, work) == "next"


def test_what_nobody_waits_for_any_more_is_not_computed():
    seen = []

    async def scenario(batcher):
        waiting = asyncio.create_task(batcher("gone"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await batcher("there")

    run(scenario, lambda batch: seen.extend(batch) or batch)
    assert seen == ["there"]
