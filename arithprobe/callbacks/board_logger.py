"""The TensorBoard logger of the commands: few curves, with the model's behaviour before the probes."""

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

_CAUSAL = 50  # rank of the first live probe that intervenes


def grouped(name: str, rank: int) -> str:
    """Return the name of a live probe's metric or picture under its numbered group.

    >>> grouped("ridge_sum/final@last/r2", 40), grouped("ablation_sum/z.0@all/h0", 50)
    ('2 ridge_sum/final@last/r2', '3 ablation_sum/z.0@all/h0')

    Args:
        name: The name of the metric or picture.
        rank: The rank of the probe's findings; from 50 on it intervenes.
    """
    return f"{3 if rank >= _CAUSAL else 2} {name}"


class BoardLogger(TensorBoardLogger):
    """Shows the scalars that :class:`~arithprobe.callbacks.board.TensorBoardOverview` chooses, under numbered groups.

    TensorBoard sorts groups by name and opens the first: ``1 val`` comes before ``2 ridge_sum`` and ``3 ablation_sum``.
    The name behind the number is that of the metric. All metrics stay in ``metrics.csv``, in the records of the run and
    for ``--checkpoint.monitor``. Lightning's own ``TensorBoardLogger`` shows every metric under its name.
    """

    shown: Callable[[str], str | None] | None = None
    """The name that a metric is shown by, None for one that is not shown; not set, all are shown."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log the metrics that are shown."""
        if self.shown is not None:
            named = {self.shown(name): value for name, value in metrics.items()}
            metrics = {name: value for name, value in named.items() if name is not None}
        if metrics:
            super().log_metrics(dict(metrics), step)
