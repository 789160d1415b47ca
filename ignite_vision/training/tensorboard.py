"""Numbers and pictures for TensorBoard, written at once.

tensorboardX's SummaryWriter hands them to a thread through a queue of ten: on a full disk the thread dies and the
training waits for ever for room in the queue. Its lower layer, used here, raises OSError instead.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np


class Scalars:
    """An event file in `folder`. What an earlier file there has from `first_step` on is hidden: it was rolled back.

    OSError when the folder cannot be written, ModuleNotFoundError without tensorboardX.
    """

    def __init__(self, folder: Path, first_step: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        self.event = Event
        self.file = EventsWriter(str(folder / "events"), f".{os.getpid()}.{first_step}")
        self.file.write_event(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, values: dict[str, float], step: int) -> None:
        """Append numbers by name. OSError when the disk does not take them."""
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self.file.write_event(self.event(step=step, wall_time=time.time(), summary=scalar(name, value)))
        self.file.flush()

    def write_picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Append a picture, (H,W,3) uint8. OSError when the disk does not take it."""
        from tensorboardX.summary import image

        self._write(image(name, pixels, dataformats="HWC"), step)

    def write_settings(self, settings: dict[str, str | float | bool], results: dict[str, float], step: int) -> None:
        """Append hyperparameters with what came of them, for TensorBoard's table of runs. OSError as above."""
        from tensorboardX.summary import hparams

        for summary in hparams(settings, results):
            self._write(summary, step)
        self.write(results, step)

    def _write(self, summary: Any, step: int) -> None:
        self.file.write_event(self.event(step=step, wall_time=time.time(), summary=summary))
        self.file.flush()

    def close(self) -> None:
        """Close the file; what a full disk did not take is lost."""
        with contextlib.suppress(OSError):
            self.file.close()
