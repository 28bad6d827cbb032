"""The number of threads that compute, and how they wait for each other.

The matrices here are small: a second thread gains a third, and more threads gain nothing. A thread that *spins* while
it waits takes the core from the thread that has work to do, as soon as another process needs a core too. So the default
is two threads that fall asleep after a moment (``docs/measured.md`` has the figures). The load of the machine never
decides the number: sums in another order have other last bits.

OpenMP reads the environment when PyTorch is imported; this module does not import PyTorch.
"""

import os
import sys
from collections.abc import MutableMapping

from arithprobe.errors import ArithprobeError

MOST = 2
"""Threads by default, on a machine with as many cores."""
_LIMIT = 1024  # a slip of the finger beyond it would take the whole machine
_NUMBER = "OMP_NUM_THREADS"
_NUMBERS = (_NUMBER, "MKL_NUM_THREADS")
_CHOSEN = "ARITHPROBE_CHOSE_THREADS"  # that number, where no user has said one; processes that this one starts know it
_WAITING = {
    "GOMP_SPINCOUNT": "600",  # libgomp, on Linux: rounds that a thread waits awake, of some nanoseconds each
    "KMP_BLOCKTIME": "0",  # LLVM's and Intel's, on macOS and Windows: milliseconds
}


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads(processes: int = 1) -> int:
    """The default number of threads of each process, when several processes compute side by side."""
    return max(1, min(MOST, cores() // processes))


def choose_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the environment that OpenMP reads, unless the user has set it; call it before PyTorch is imported.

    After the import it has no effect. The user's ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` is kept, and so are the
    variables that say how threads wait (``OMP_WAIT_POLICY``, ``GOMP_SPINCOUNT``, ``KMP_BLOCKTIME``).

    Args:
        environment: The environment of the process.
    """
    if not any(environment.get(name) for name in ("OMP_WAIT_POLICY", *_WAITING)):
        environment.update(_WAITING)
    if not any(environment.get(name) for name in _NUMBERS):
        environment[_NUMBER] = environment[_CHOSEN] = str(default_threads())


def are_chosen() -> bool:
    """Whether the number of threads is still the library's choice, so that another may replace it."""
    import torch

    chosen = os.environ.get(_CHOSEN)
    return chosen is not None and chosen == os.environ.get(_NUMBER) == str(torch.get_num_threads())


def use_threads(number: int | None = None) -> int:
    """Set the number of threads of this process and of the processes that it starts.

    The commands do this by themselves (``--threads``). Call it in a notebook or a script before you import PyTorch:
    then the threads also wait as those of the commands do. After the import it can only set the number; without a
    number it changes nothing, and your own ``torch.set_num_threads`` stays in force.

    Args:
        number: Threads of PyTorch; by default yours from ``OMP_NUM_THREADS``, or two where there are two cores.

    Returns:
        The number of threads that PyTorch now uses.

    Raises:
        ArithprobeError: If ``number`` is not a number, or is out of range.
    """
    if number is not None:
        require_threads(number)
    if "torch" not in sys.modules:
        choose_threads()
    if number is not None:
        _use(number)
    import torch

    return torch.get_num_threads()


def require_threads(number: object) -> None:
    """Refuse a value that is not a number of threads.

    Raises:
        ArithprobeError: If it is not a number, less than 1, or more than any machine has.
    """
    if type(number) is not int or not 1 <= number <= _LIMIT:
        raise ArithprobeError(f"threads is {number!r}; expected a number from 1 to {_LIMIT}")


def use_chosen_threads(number: int) -> None:
    """Replace the library's choice of threads by a number, such as a checkpoint's or one that leaves others room.

    A number that the user has set is kept.
    """
    if are_chosen():
        _use(number)
        os.environ[_CHOSEN] = str(number)


def _use(number: int) -> None:
    import torch

    torch.set_num_threads(number)
    os.environ[_NUMBER] = str(number)
    os.environ.pop(_CHOSEN, None)
