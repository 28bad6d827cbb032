"""How many threads compute, and how they wait for each other.

The matrices here are small: a second thread gains a third, more gain nothing, and a thread that *spins* while it waits
takes the core from whoever is to do the work, as soon as another process wants one too. So the default is two threads
that fall asleep after a moment (``docs/measured.md`` has the figures). The number is never chosen by the load of the
machine: sums in another order have other last bits.

What OpenMP reads from the environment, it reads when PyTorch is imported; this module does not import it.
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
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads(processes: int = 1) -> int:
    """The number of threads of each of so many processes that compute side by side, where nobody has said one."""
    return max(1, min(MOST, cores() // processes))


def choose_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what OpenMP will read, where the user has not: before PyTorch is imported, and only then does it help.

    A ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` of the user stands, and so does what says how threads wait
    (``OMP_WAIT_POLICY``, ``GOMP_SPINCOUNT``, ``KMP_BLOCKTIME``).

    Args:
        environment: Of the process.
    """
    if not any(environment.get(name) for name in ("OMP_WAIT_POLICY", *_WAITING)):
        environment.update(_WAITING)
    if not any(environment.get(name) for name in _NUMBERS):
        environment[_NUMBER] = environment[_CHOSEN] = str(default_threads())


def are_chosen() -> bool:
    """Whether the number of threads is still our choice, so that another may take its place."""
    import torch

    chosen = os.environ.get(_CHOSEN)
    return chosen is not None and chosen == os.environ.get(_NUMBER) == str(torch.get_num_threads())


def use_threads(number: int | None = None) -> int:
    """Compute with so many threads, in this process and those that it starts.

    The commands do this by themselves (``--threads``). A notebook or a script calls it before it imports PyTorch: then
    threads also wait as those of the commands do. After the import only the number can be set, and without one nothing
    is: a ``torch.set_num_threads`` of yours stands.

    Args:
        number: Threads of PyTorch; by default yours from ``OMP_NUM_THREADS``, or two where there are two cores.

    Returns:
        The number of threads that PyTorch now uses.

    Raises:
        ArithprobeError: If the number is none, or out of range.
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
    """Refuse what is no number of threads.

    Raises:
        ArithprobeError: If it is none, less than 1, or more than any machine has.
    """
    if type(number) is not int or not 1 <= number <= _LIMIT:
        raise ArithprobeError(f"threads is {number!r}; expected a number from 1 to {_LIMIT}")


def use_chosen_threads(number: int) -> None:
    """Let a number take the place of our choice: that of a checkpoint, or one that leaves other processes room.

    Where the user has said one, that stands.
    """
    if are_chosen():
        _use(number)
        os.environ[_CHOSEN] = str(number)


def _use(number: int) -> None:
    import torch

    torch.set_num_threads(number)
    os.environ[_NUMBER] = str(number)
    os.environ.pop(_CHOSEN, None)
