"""Ctrl-C and SIGTERM: a training ends after the step that is under way, and saves it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

PATIENCE = 10.0
"""seconds from SIGTERM until the process ends, whatever it is doing: who sends SIGTERM sends SIGKILL next"""


class Interrupts:
    """Whether Ctrl-C or SIGTERM was received.  The loop asks between steps."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        """give_up: called before the process ends in the middle of a step."""
        self._give_up = give_up
        self._received = self._nothing_to_lose = False
        self._saving = threading.Lock()

    def __call__(self) -> bool:
        return self._received

    def receive(self, number: int, _frame: Any) -> None:
        """The handler of both signals.  The second one ends at once, and so does the first where nothing is lost."""
        if number == signal.SIGTERM and not self._received:
            timer = threading.Timer(PATIENCE, self._end)
            timer.daemon = True
            timer.start()
        again, self._received = self._received, True
        if again or self._nothing_to_lose:
            raise KeyboardInterrupt

    def _end(self) -> None:
        with self._saving:  # a checkpoint that is being written is finished first
            with suppress(Exception):
                self._give_up()
            os._exit(130)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """In here the process does not end for want of patience."""
        with self._saving:
            yield

    @contextmanager
    def nothing_to_lose(self) -> Iterator[None]:
        """In here all is saved: a signal ends what is done at once."""
        self._nothing_to_lose = True
        try:
            yield
        finally:
            self._nothing_to_lose = False


@contextmanager
def interrupts(give_up: Callable[[], None]) -> Iterator[Interrupts]:
    """Receives both signals inside `with`, in the main thread; in another one the caller handles signals."""
    interrupted = Interrupts(give_up)
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, interrupted.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
