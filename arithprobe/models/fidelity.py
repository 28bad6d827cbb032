"""The result of :func:`arithprobe.models.check.check`, and its measure of differences."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError

_ROUNDING = 8.0  # times the smallest relative difference of the type: what an output may be off by itself


@dataclass(frozen=True)
class Fidelity:
    """The result of a check; a difference is the largest of any output, as a share of the spread between rows."""

    network: str
    """Name of the network's class."""
    dtype: str
    """Type of the network's outputs, such as ``float32``."""
    rows: int
    """Rows that it was run on."""
    sites: tuple[str, ...]
    """Its sites, every one of which was read and edited."""
    tolerance: float
    """What may differ: 1e-9 in float64, 1e-5 in float32; in half precision four times what a second plain pass of the
    same weights in float32 differs by."""
    second_pass: float
    """Difference of a second plain pass, with the rows in the opposite order."""
    identity: float
    """Largest difference that an edit makes which changes nothing; must be 0 to the bit."""
    put_back: float
    """Largest difference where the states of a site are put back as they were."""
    whole_source: float
    """Difference from a source's output where the whole stream of it is put in, the largest of all residual sites; NaN
    without two rows of one length."""
    alone: float
    """Difference of a row run alone from the same row in a padded batch."""
    run_from: float
    """Difference of ``run_from`` from a whole pass with the same edit, the largest of all sites."""
    untrained: str
    """Whether untrained twins are equal between equal seeds, or why there are none."""
    unchanged: tuple[str, ...]
    """Weights that are equal in the network and in an untrained twin: shared, frozen, or never trained."""
    unreached: tuple[str, ...]
    """Sites whose edits change no output: nothing reads them, or only through weights that are zero."""
    coarse: bool
    """Whether outputs of different rows differ by no more than rounding, so that little can be told."""
    problems: tuple[str, ...]
    """The promises that it breaks; empty where all are kept."""

    def required(self) -> "Fidelity":
        """Return the result itself, if all promises are kept.

        Raises:
            ArithprobeError: If one is not; the text names the first.
        """
        if self.problems:
            more = f" (and {len(self.problems) - 1} more: check(network, rows).problems)" if self.problems[1:] else ""
            raise ArithprobeError(f"{self.network}: {self.problems[0]}{more}")
        return self

    def __str__(self) -> str:
        """In a line or two."""
        kept = "keeps its promises" if not self.problems else f"BREAKS {len(self.problems)}: {'; '.join(self.problems)}"
        return (
            f"{self.network} {kept} ({self.rows} rows, {len(self.sites)} sites, {self.dtype}, tolerance "
            f"{self.tolerance:.1g}): identity edit {self.identity:.1g}, states put back {self.put_back:.1g}, "
            f"whole source {self.whole_source:.1g}, a row alone {self.alone:.1g}, run_from {self.run_from:.1g}, a "
            f"second pass {self.second_pass:.1g}; no output changes with: {', '.join(self.unreached) or 'none'}"
            f"{'; outputs differ between rows by no more than rounding' if self.coarse else ''}; "
            f"untrained: {self.untrained}; equal to it: {', '.join(self.unchanged) or 'no weights'}"
        )


class Yardstick:
    """The distance of outputs, as a share of that between different rows (for one row, of the largest output).

    The rounding error of the number type is subtracted.

    Args:
        outputs: (B, K) outputs of a plain pass.
    """

    def __init__(self, outputs: Tensor) -> None:
        spread = (outputs.amax(dim=0) - outputs.amin(dim=0)).double()
        varies = spread > 0  # of a mask the others know nothing
        self._scale = float(spread[varies].median() if bool(varies.any()) else outputs.abs().max())
        rounding = _ROUNDING * torch.finfo(outputs.dtype).eps * outputs.abs().amax(dim=0).double()
        self.is_too_coarse = bool(varies.any()) and float((rounding / spread)[varies].median()) > 1
        """Whether rounding alone may be as large as what tells rows apart."""

    def off(self, found: Tensor, wanted: Tensor) -> float:
        """The largest difference of any output beyond rounding; infinite for other shapes and for NaN."""
        if found.shape != wanted.shape:
            return float("inf")
        same = found == wanted  # infinite ones too
        apart = (found - wanted).abs().double()
        apart = (apart - _ROUNDING * torch.finfo(found.dtype).eps * wanted.abs().double()).nan_to_num(nan=torch.inf)
        worst = float(torch.where(same, 0, apart).max().clamp(min=0))
        return worst / self._scale if self._scale else worst and float("inf")


def fidelity_record(fidelity: Fidelity | None) -> dict[str, Any]:
    """The part of a record that says what the check found; empty for a network that needed no check."""
    return {} if fidelity is None else {"fidelity": asdict(fidelity)}
