"""Concurrent requests share forward passes, and a lone one never waits for others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """`await batcher(item)` is the item's result; while `run()` runs, it takes whatever is there, at most `most`.

    It never waits for more: while one batch is computed, the next gathers. Who calls it sees to it that not too many
    wait. work: a batch -> a result for each item, called in `executor`; what it raises, every item of the batch gets.
    batches: how many were computed.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[R]], most: int, executor: Executor):
        self.work, self.most, self.executor = work, most, executor
        self.queue: asyncio.Queue[tuple[T, asyncio.Future[R]]] = asyncio.Queue()
        self.batches = 0

    async def __call__(self, item: T) -> R:
        """Return the result of one item."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((item, future))
        return await future

    async def run(self) -> None:
        """Compute batches until cancelled."""
        while True:
            batch = [await self.queue.get()]
            while len(batch) < self.most and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            wanted = [(item, future) for item, future in batch if not future.cancelled()]  # by who asked
            if wanted:
                await self._compute(wanted)

    async def _compute(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        self.batches += 1
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self.executor, self.work, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  (handed to everyone who waits, and logged there)
            for _, future in batch:
                if not future.cancelled():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.cancelled():
                future.set_result(result)
