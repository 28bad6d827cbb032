"""The embedded engine: worker processes on this machine, by joblib's loky."""

import os
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arithprobe.sweeps.engine import TICK_S, Job, Outcome, one_line, run_or_die

if TYPE_CHECKING:
    from joblib.externals.loky.process_executor import ProcessPoolExecutor

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Place:
    """One worker process and what it does; a process of its own, so that the death of one disturbs no other."""

    executor: "ProcessPoolExecutor | None" = None
    trial: str = ""
    attempt: int = 0


class LokyEngine:
    """Trials in worker processes on this machine; a worker runs one trial after the other.

    Args:
        jobs: Trials side by side; all cores, each with its threads, by default.
        threads: Threads of each.
        retries: How often a trial is run again whose worker died.
    """

    name = "loky"

    def __init__(self, jobs: int | None = None, threads: int = 1, retries: int = 2) -> None:
        self.jobs, self.threads, self.retries = jobs or places(threads), threads, retries

    def check(self) -> None:
        """This machine is there."""

    def run(self, job: Job, trials: Sequence[str]) -> Generator[Outcome | None]:
        """As :class:`~arithprobe.sweeps.engine.Engine` says."""
        waiting = deque((trial, 1) for trial in trials)
        free = [_Place() for _ in range(min(self.jobs, len(trials)))]
        running: dict[Future[str | None], _Place] = {}
        try:
            while waiting or running:
                while waiting and free:
                    place = free.pop()
                    place.trial, place.attempt = waiting.popleft()
                    running[self._submit(place, job)] = place
                done, _ = wait(running, timeout=TICK_S, return_when=FIRST_COMPLETED)
                for future in done:
                    place = running.pop(future)
                    free.append(place)
                    outcome = self._ended(place, future)
                    if outcome is None:
                        waiting.appendleft((place.trial, place.attempt + 1))
                    else:
                        yield outcome
                yield None
        finally:
            for place in (*free, *running.values()):
                if place.executor is not None:
                    place.executor.shutdown(wait=True, kill_workers=True)

    def _submit(self, place: _Place, job: Job) -> "Future[str | None]":
        if place.executor is None:
            from joblib.externals.loky.process_executor import ProcessPoolExecutor

            environment, guard = dict.fromkeys(_THREADS, str(self.threads)), (os.getpid(),)
            place.executor = ProcessPoolExecutor(1, env=environment, initializer=_end_with, initargs=guard)
        future: Future[str | None] = place.executor.submit(run_or_die, job, place.trial)
        return future

    def _ended(self, place: _Place, future: "Future[str | None]") -> Outcome | None:
        """The outcome of a trial, or None where its worker died and it is run again."""
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            if place.executor is not None:
                place.executor.shutdown(wait=True, kill_workers=True)
            place.executor = None
            if place.attempt <= self.retries:
                return None
            return Outcome(place.trial, f"its worker died {place.attempt} times (out of memory, or killed)")
        return Outcome(place.trial, future.result() if error is None else one_line(error))


def cores() -> int:
    """Cores that this process may use."""
    from joblib import cpu_count

    return int(cpu_count())


def places(threads: int) -> int:
    """Trials that have room side by side on this machine, with so many threads each; one at least."""
    return max(1, cores() // threads)


def _end_with(sweep: int) -> None:
    """Have this worker end with the sweep that started it, however that ends."""
    threading.Thread(target=_watch, args=(sweep,), daemon=True).start()


def _watch(sweep: int) -> None:
    while os.getppid() == sweep:
        time.sleep(TICK_S)
    os._exit(1)
