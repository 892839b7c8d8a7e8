"""Inside a step's own process: carry out one order, answer through a pipe, and be gone.

The answer is pickled values of ours; rows wait in files, whose paths are in it. A process of this kind never publishes.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import pickle
import random
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn, TextIO

from assets_core.execution.executors import Failed, failed
from assets_core.execution.step_order import StepOrder
from assets_core.execution.worker import Worker
from assets_core.model.errors import InternalError, IOManagerError, PartitaError
from assets_core.process_memory import limit_memory
from assets_core.telemetry.run_log import ASSET_LOGGER

if TYPE_CHECKING:
    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.worker import Produced, Skipped

_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl(2)."""


def owned_by_parent(*, yes: bool = True) -> None:
    """Be killed when the parent dies, however it dies; or no longer. Only Linux offers that; elsewhere a closed channel must do."""
    if sys.platform == "linux":
        number = signal.SIGKILL if yes else 0
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, number)


def load(loader: str, argument: str) -> Resolved:
    """The project's definitions, as `module:function` answers them when it is called with `argument`."""
    module, _, function = loader.partition(":")
    found: Resolved = getattr(importlib.import_module(module), function)(argument)
    return found


def carry_out(order: StepOrder, project: Resolved, result_pipe: int) -> NoReturn:
    """Run the order in this process, which then ends. Whoever reads the pipe gets a pickled Produced, Skipped or Failed."""
    code = 1
    try:
        owned_by_parent()
        signal.signal(signal.SIGTERM, _interrupt)
        _catch_output()
        if order.memory is not None:
            limit_memory(order.memory)
        answer = _pickled(order, _answer(order, project))
        with open(result_pipe, "wb") as pipe:
            pipe.write(answer)
        code = 0
    except KeyboardInterrupt:
        # It was asked to end; whoever asked knows why.
        pass
    except BaseException:  # noqa: BLE001 - the last frame of this process: whatever it is, it is told by the output and the exit code
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
        # Not sys.exit: what the parent registered for its own end, and threads of the user's, must not delay this.
        os._exit(code)
    raise AssertionError


def _answer(order: StepOrder, project: Resolved) -> Produced | Skipped | Failed:
    try:
        return Worker(project, _logger).execute(order)
    except PartitaError as error:
        told = failed(error)
        if isinstance(error.__cause__, MemoryError) and order.memory is not None:
            limit = f"{order.memory / 2**20:g} MiB"
            return Failed(
                f"{told.message}; its memory limit is {limit}", told.code, told.frames, told.checks
            )
        return told
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not look like a death of the process
        story = traceback.format_exc()
        message = f"{order.asset}: Partita broke on {type(error).__name__}: {error}"
        return Failed(message, InternalError.code, story, died=True)


def _pickled(order: StepOrder, answer: Produced | Skipped | Failed) -> bytes:
    try:
        return pickle.dumps(answer)
    except Exception as error:  # noqa: BLE001 - pickling calls methods of values that we don't know
        message = f"{order.asset}: what its IO manager staged can't be handed to the run's own process: {error}"
        return pickle.dumps(Failed(message, IOManagerError.code, died=True))


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _catch_output() -> None:
    # The server's own streams remember what their descriptors were before.
    sys.stdout = _text_stream(1)
    sys.stderr = _text_stream(2)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    logging.getLogger(ASSET_LOGGER).setLevel(logging.INFO)
    # A fork would draw the same numbers in every step; Python's own generator is seeded anew by itself.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(random.getrandbits(32))


def _text_stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except (OSError, ValueError):
        return


def _logger(asset: str) -> logging.Logger:
    return logging.getLogger(ASSET_LOGGER).getChild(asset)


def main() -> None:
    """`python -m assets_core.execution.step_process RESULT_PIPE LOADER ARGUMENT`, the order on standard input."""
    result_pipe, loader, argument = sys.argv[1:]
    order = StepOrder.from_json(sys.stdin.read())
    carry_out(order, load(loader, argument), int(result_pipe))


if __name__ == "__main__":
    main()
