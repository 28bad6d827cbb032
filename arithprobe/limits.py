"""How large an option may be: beyond it, a slip of the finger would take the machine, or give nonsense.

An option has one name and one limit wherever it is given; what depends on the data is asked of the memory there is.
"""

import os
from collections.abc import Mapping

from arithprobe.errors import ArithprobeError, require_at_least

LARGEST_PERIOD = 10_000
"""Of a circle."""
_MANY = "each of them is a fit of its own"
_DRAWS = "p-values of 1 in 10000 need no more"
_MOST: dict[str, tuple[float, str]] = {
    "n_layers": (1000, "each is computed after the other, and has seven sites"),
    "lr": (1, "a step of AdamW moves every weight by about lr, and weights begin below 1"),
    "embedding_sd": (1000, "the states of everything else begin near 1"),
    "warmup_steps": (10**9, "no fit has so many steps"),
    "batch_size": (10**6, "a batch is in memory at once, with its states"),
    "folds": (1000, "each of them has moments of its own"),
    "permutations": (10_000, _DRAWS),
    "fourier_permutations": (10_000, _DRAWS),
    "shuffles": (10_000, _DRAWS),
    "draws": (10_000, _DRAWS),
    "variable_draws": (10_000, _DRAWS),
    "subspace_draws": (10_000, _DRAWS),
    "mlp_shuffles": (1000, _MANY),
    "twins": (1000, "each of them is a network that is run over the rows"),
    "drifts": (1000, "each of them is a network that is run over the rows"),
    "inlp_rank": (10**6, "no state is so wide"),
    "frequencies": (5000, "half the longest period there is, and each is two columns of labels"),
    "probe_dimension": (10**6, "no state is so wide"),
    "hidden": (8192, "the weights of a layer are its square"),
    "mlp_hidden": (8192, "the weights of a layer are its square"),
    "depth": (16, "no probe is deeper than what it probes"),
    "mlp_depth": (16, "no probe is deeper than what it probes"),
    "max_epochs": (10**6, "the probe stops by itself long before"),
    "mlp_epochs": (10**6, "the probe stops by itself long before"),
    "patience": (10**6, "no fit has so many epochs"),
    "mlp_within": (10.0**15, "no answer is so far off"),
    "max_examples": (10**8, "no file has so many rows"),
    "every": (10**6, "no fit has so many validations"),
    "figure_every": (10**6, "no fit has so many validations"),
    "seed": (2**32 - 1, "the largest of NumPy's generators"),
    "jobs": (1024, "each of them is a process"),
    "retries": (1000, "a trial whose worker dies so often will not live"),
    "gpus": (1024, "no machine has so many"),
}
"""The largest value of an option, and why it is the largest."""


def require_within(owner: str, **values: float) -> None:
    """Refuse options that are too large.

    >>> require_within("", folds=5)

    Args:
        owner: Whose options, as in ``'RidgeProbing: '``; may be empty.
        values: By name. Each has one limit, wherever it is an option.

    Raises:
        ArithprobeError: Naming the first that is larger, or no number, with the limit and its reason.
    """
    for name, value in values.items():
        most, reason = _MOST[name]
        if not value <= most:
            raise ArithprobeError(f"{owner}{name} is {value}; expected at most {most} ({reason})")


def require_ranges(owner: str, options: object, least: Mapping[str, float]) -> None:
    """Refuse options that are too small or too large.

    Args:
        owner: Whose options, as in ``'RidgeProbing: '``; may be empty.
        options: Has them as attributes.
        least: The smallest value of each, by name.

    Raises:
        ArithprobeError: Naming the first that is out of range.
    """
    values = {name: getattr(options, name) for name in least}
    require_at_least(owner, **{name: (values[name], lowest) for name, lowest in least.items()})
    require_within(owner, **{name: value for name, value in values.items() if name in _MOST})


def range_words(name: str, least: float) -> str:
    """The range of an option, for its help.

    >>> range_words("draws", 19), range_words("ablate", 1)
    ('19 to 10000', '1 or more')
    """
    return f"{least:g} to {_MOST[name][0]:.15g}" if name in _MOST else f"{least:g} or more"


def require_memory(what: str, needed: float) -> None:
    """Refuse what would not fit into the memory of this machine.

    Args:
        what: What would take it, the subject of the text.
        needed: Bytes.

    Raises:
        ArithprobeError: Naming both sizes.
    """
    there = machine_memory()
    if needed > there:
        raise ArithprobeError(f"{what} would take {size(needed)} of memory; this machine has {size(there)}")


def machine_memory() -> float:
    """Bytes of memory that this machine has; infinite where it does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PAGE_SIZE" not in names or "SC_PHYS_PAGES" not in names:
        return float("inf")
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")


def size(n_bytes: float) -> str:
    """Bytes as one reads them.

    >>> size(3.2e12), size(2000.0)
    ('3.2 TB', '2 kB')
    """
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    unit = min(len(units) - 1, max(0, (len(f"{n_bytes:.0f}") - 1) // 3))
    return f"{n_bytes / 1000**unit:.3g} {units[unit]}" if n_bytes < 1e21 else f"{n_bytes:.1e} B"
