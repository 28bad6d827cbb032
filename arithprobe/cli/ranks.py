"""Processes that are no ranks of one run, although the environment calls them so."""

import os
from collections.abc import MutableMapping

_RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_NUMBERS = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "SLURM_PROCID": 0, "SLURM_NTASKS": 1}


def forget_ranks(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove what says that this process is a rank of a job, from which Lightning would conclude that it is to be one.

    Args:
        environment: Of the process.
    """
    from lightning.pytorch.utilities import rank_zero_only

    for name in [one for one in environment if one.startswith("SLURM_") or one in _RANKS]:
        del environment[name]
    vars(rank_zero_only)["rank"] = 0  # has been read from there at the import


def stands_alone(devices: object, num_nodes: object, environment: MutableMapping[str, str] = os.environ) -> bool:
    """Whether a fit on one device is only one of several in a job, such as many started by one ``srun``.

    Args:
        devices: As the Trainer is given it.
        num_nodes: As the Trainer is given it.
        environment: Of the process.
    """
    one = devices in (1, "1") or (isinstance(devices, list) and len(devices) == 1)
    said = {name: environment.get(name, "") for name in _NUMBERS}
    return one and num_nodes in (1, "1") and any(said[name] not in ("", str(_NUMBERS[name])) for name in said)
