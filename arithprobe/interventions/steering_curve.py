"""The result of steering."""

from dataclasses import dataclass

from torch import Tensor

from arithprobe.interventions.patching import Recovered


@dataclass(frozen=True)
class SteeringCurve:
    """The response of the answer to Q shifts of a quantity."""

    target: str
    """Name of the quantity that is moved, a probe's target such as ``sum``."""
    site: str
    """Name of the site, such as ``resid_post.1``."""
    positions: tuple[str, ...]
    """At which positions, all at once."""
    deltas: Tensor
    """(Q,) shifts asked for, in units of the quantity, ascending; round a claimed circle of residues in steps of it
    (:mod:`arithprobe.interventions.naming`), as the response."""
    expected: float
    """Rise of the answer that arithmetic demands for a shift of 1."""
    response: Tensor
    """(Q,) mean shift of the answer, in answer units; of a model that answers numbers modulo k, over the rows whose
    right answer does not wrap around (all of them for other models)."""
    low: Tensor
    """(Q,) lower end of its 95 % interval over the rows moved, by this pattern; another fit's is in ``slope`` only."""
    high: Tensor
    """(Q,) upper end."""
    hits: Tensor
    """(Q,) share of rows whose rounded answer is the right one for the shifted quantity."""
    slope: Recovered
    """Response to small shifts over what arithmetic demands: 1 is full use of what was moved. The interval includes the
    fit: it is for the pattern that would be fitted on all problems like these."""
    fit_blocks: int
    """Blocks of the sums fitted on that the interval leaves out in turn; 0: it leaves the fit out of account."""
    random_slopes: Tensor
    """(M,) the same for random patterns of the same length."""
    linear: tuple[float, float]
    """Shifts around 0 within which the mean response stays within 10 % of the line."""
    saturation: tuple[float, float]
    """Lowest and highest mean response, in answer units."""
