"""Trials on Ray: on this machine, or on all machines of a cluster."""

import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from arithprobe.errors import ArithprobeError, require_at_least
from arithprobe.sweeps.engine import TICK_S, Job, Outcome, one_line, run_or_die
from arithprobe.sweeps.loky_engine import places
from arithprobe.sweeps.ray_address import QUIET, require_cluster

_STOP_S = 10.0
_OBJECTS_BYTES = 128 * 2**20  # trials hand back a line each; Ray's default is a third of the memory
_OOM = "RAY_task_oom_retries"  # by default Ray goes on for ever
_SAID = "^A worker died or was killed|^Task _call failed|^Raylet is terminated|has been marked dead"  # outcomes say it


class RayEngine:
    """Trials as tasks of Ray; one whose worker or machine is lost runs again on another.

    Without an address Ray is started on this machine, and ended with the run; a cluster that happens to be there is not
    joined. A process that is connected to Ray already stays with that. A machine of a cluster needs arithprobe, the
    same versions of Python and Ray, and the folders of the trials under the same paths. While no machine has room,
    because one was lost, trials wait. If the head of the cluster or the machine that runs the sweep is lost, the sweep
    ends (Ray may end the process), and the same call goes on later.

    Ray writes ``~/.ray/auth_token`` when it starts on this machine and finds none (``RAY_AUTH_MODE=disabled`` opts
    out); clusters started by ``ray start`` ask for it from then on, and all their machines need the same one. Start the
    head with ``GRPC_ENABLE_FORK_SUPPORT=0`` if ``ray://`` sometimes fails (Ray's issue 63202).

    Args:
        jobs: Trials side by side, at most; as many as there is room for by default.
        threads: CPUs that each is given; also what Ray sets ``OMP_NUM_THREADS`` to, unless it is set.
        address: Of the cluster: ``HOST:PORT`` or ``auto`` from one of its machines, ``ray://HOST:10001`` from others.
        retries: How often a trial is run again whose worker or machine died, or was out of memory.
        gpus: GPUs that each is given, also a share of one; with 0 it sees none, so that all machines compute alike.
        wait_s: Longest wait for an answer of the cluster, in seconds.

    Raises:
        ArithprobeError: If Ray is not installed, or for GPUs that cannot be shared out.
    """

    name = "ray"

    def __init__(
        self,
        jobs: int | None = None,
        threads: int = 1,
        address: str | None = None,
        retries: int = 2,
        gpus: float = 0.0,
        wait_s: float = 30.0,
    ) -> None:
        require_at_least("", threads=(threads, 1), retries=(retries, 0), gpus=(gpus, 0))
        if gpus > 1 and gpus != int(gpus):
            raise ArithprobeError(f"gpus is {gpus}; expected a share of one, or a whole number")
        self.jobs, self.threads, self.address, self.retries = jobs, threads, address, retries
        self.gpus, self.wait_s, self._answered = gpus, wait_s, False
        with self._environment():
            _require_ray()

    def check(self) -> None:
        """Refuse an address where no cluster answers."""
        import ray

        if self.address is not None and not self._answered and not ray.is_initialized():
            with self._environment():
                require_cluster(self.address, self.wait_s)
            self._answered = True

    def run(self, job: Job, trials: Sequence[str]) -> Generator[Outcome | None]:
        """As :class:`~arithprobe.sweeps.engine.Engine` says.

        Raises:
            ArithprobeError: If the cluster cannot be reached, is lost, or no machine of it is large enough for a trial.
        """
        import ray

        with self._connected():
            self._require_room()
            options = {"num_cpus": self.threads, "num_gpus": self.gpus, "max_retries": self.retries}
            call = ray.remote(retry_exceptions=False, **options)(_call)
            shared, waiting = ray.put(job), deque(trials)
            running: dict[Any, str] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < (self.jobs or len(trials)):
                        trial = waiting.popleft()
                        running[call.remote(shared, trial, self.gpus > 0)] = trial
                    for ended in self._ended(running):
                        yield Outcome(running.pop(ended), self._error(ended))
                    yield None
            finally:
                _stop(list(running))

    def _ended(self, running: Mapping[Any, str]) -> list[Any]:
        """What has ended, after a wait of half a second at most."""
        import ray

        try:
            ended: list[Any] = ray.wait(list(running), timeout=TICK_S)[0]
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise ArithprobeError(f"the Ray cluster is lost; the same call goes on ({one_line(error)})") from error
        return ended

    def _error(self, ended: Any) -> str | None:
        """What a trial returned, or why it did not."""
        import ray
        from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

        tries = f"{self.retries + 1} times" if self.retries else "once"
        try:
            returned: str | None = ray.get(ended)
        except WorkerCrashedError:
            return f"its worker died {tries} (killed, or out of memory)"
        except NodeDiedError:
            return f"its machine was lost {tries}"
        except OutOfMemoryError:
            return f"its machine was out of memory {tries}; give each trial more room (fewer jobs, or more threads)"
        except RayTaskError as error:
            return _brief(error.cause if isinstance(error.cause, Exception) else error)
        except RayError as error:
            return _brief(error)
        return returned

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Within the block, this process is connected to Ray."""
        import ray

        if ray.is_initialized():
            yield
            return
        with ExitStack() as stack:
            self.check()
            stack.enter_context(self._environment())
            handler = signal.getsignal(signal.SIGTERM)
            stack.callback(_on_sigterm, handler)
            stack.callback(ray.shutdown)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    ray.init(**self._place(), **QUIET)
            except (ray.exceptions.RayError, RuntimeError, OSError, ValueError) as error:
                raise ArithprobeError(f"Ray cannot start or join a cluster: {_brief(error)}") from error
            _on_sigterm(_leave if handler is signal.SIG_DFL else handler)
            yield

    def _place(self) -> dict[str, Any]:
        """Where the trials run, in the words of ``ray.init``."""
        if self.address is None:
            cpus = (self.jobs or places(self.threads)) * self.threads
            local = {"address": "local", "num_cpus": cpus, "object_store_memory": _OBJECTS_BYTES}
            return {**local, "include_dashboard": False}
        if "://" not in self.address:
            return {"address": self.address}
        return {"address": self.address, "runtime_env": {"env_vars": {_OOM: str(self.retries)}}}

    def _require_room(self) -> None:
        """Refuse what no machine has room for, also when it is idle."""
        import ray

        resources = [one["Resources"] for one in ray.nodes() if one["Alive"]]
        machines = [(one.get("CPU", 0.0), one.get("GPU", 0.0)) for one in resources]
        if not any(cpus >= self.threads and gpus >= self.gpus for cpus, gpus in machines):
            there = ", ".join(f"{cpus:g} and {gpus:g}" for cpus, gpus in sorted(set(machines), reverse=True)[:3])
            raise ArithprobeError(
                f"a trial needs threads={self.threads} CPUs and gpus={self.gpus:g} GPUs of one machine; those of the "
                f"Ray cluster have {there or 'none'}"
            )

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """Within the block, Ray is told what only the environment tells it, where the user has not."""
        told = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": _SAID, _OOM: str(self.retries)}
        added = [name for name in (*told, "RAY_AUTH_MODE") if name not in os.environ]  # Ray itself sets the last
        os.environ.update({name: told[name] for name in added if name in told})
        try:
            yield
        finally:
            for name in added:
                os.environ.pop(name, None)


def _call(job: Job, trial: str, gpus: bool) -> str | None:
    """Run a job in a worker."""
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return run_or_die(job, trial)


def _stop(running: Sequence[Any]) -> None:
    """End what runs, and wait until it has."""
    import ray

    with suppress(ray.exceptions.RayError, ConnectionError):
        for one in running:
            ray.cancel(one, force=True)
        if running:
            ray.wait(running, num_returns=len(running), timeout=_STOP_S)


def _require_ray() -> None:
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise ArithprobeError("Ray is not installed; pip install 'arithprobe[ray]'") from error


def _brief(error: BaseException) -> str:
    """An exception as one line, without the traceback that Ray puts into its text."""
    return one_line(error).partition(" traceback: ")[0]


def _on_sigterm(handler: Any) -> None:
    """What is done at this signal, in place of what Ray has set: it prints where the process was."""
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGTERM, handler)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)
