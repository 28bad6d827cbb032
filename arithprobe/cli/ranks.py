"""Processes that the environment calls ranks of one run, but that are not."""

import os
from collections.abc import MutableMapping

_RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_NUMBERS = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "SLURM_PROCID": 0, "SLURM_NTASKS": 1}


def forget_ranks(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove the variables that call this process a rank of a job, since Lightning would make it one.

    Args:
        environment: The environment of the process.
    """
    from lightning.pytorch.utilities import rank_zero_only

    for name in [one for one in environment if one.startswith("SLURM_") or one in _RANKS]:
        del environment[name]
    vars(rank_zero_only)["rank"] = 0  # has been read from there at the import


def stands_alone(devices: object, num_nodes: object, environment: MutableMapping[str, str] = os.environ) -> bool:
    """Whether a fit on one device is an independent one of several in a job, such as many started by one ``srun``.

    Args:
        devices: The Trainer's ``devices``.
        num_nodes: The Trainer's ``num_nodes``.
        environment: The environment of the process.
    """
    one = devices in (1, "1") or (isinstance(devices, list) and len(devices) == 1)
    said = {name: environment.get(name, "") for name in _NUMBERS}
    return one and num_nodes in (1, "1") and any(said[name] not in ("", str(_NUMBERS[name])) for name in said)
