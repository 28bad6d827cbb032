"""One row of the ledger."""

from dataclasses import dataclass

from arithprobe.interventions.ablation import AblationEffect
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.steering_curve import SteeringCurve


@dataclass(frozen=True)
class LedgerRow:
    """The results for one subspace at one site and set of positions."""

    site: str
    """Name of the site, such as ``resid_post.1``."""
    position: str
    """At which token, or set of tokens edited together."""
    subspace: str
    """What was taken out and how, ``sum:leace``."""
    target: str
    """Name of what was taken out, a probe's target such as ``sum``."""
    rank: int
    """Dimensions at each position."""
    best_position: str
    """The position of the set, of those that every row has, from which the target is read best."""
    held_out_r2: float
    """R2 of a ridge probe there, on rows of sums it was not fitted on."""
    mlp_r2: float
    """The same for an MLP probe; NaN where there is none."""
    effects: tuple[AblationEffect, ...]
    """What each ablation does to the model's own answers, beside random subspaces."""
    refit_mse: float
    """Held-out squared error of a ridge readout of the answer from intact states there."""
    refit_delta_mse: float
    """Increase of it when the readout is refitted without the subspace: what another readout could still use."""
    refit_r2: float
    """R2 of the refitted readout without the subspace."""
    residual_r2_linear: float
    """Best held-out R2 of the target that a new ridge probe finds afterwards, at any position of the set that 20 % of
    the rows have."""
    residual_r2_mlp: float
    """The same for a new MLP probe, at the best position; NaN where there is none."""
    steering: SteeringCurve | None
    """Response of the answer to moving the target there; None where it is hardly readable or has no unit."""
    interchange: Interchange | None
    """Response of the answer to swapping the subspace between problems; None where arithmetic does not say which."""
    near_tautological: bool
    """Whether only the last LayerNorm and the linear readout come after: there the readout's direction is used by
    construction, and only it."""

    @property
    def steering_slope(self) -> float | None:
        """The response to small shifts, divided by the one that arithmetic demands."""
        return None if self.steering is None else self.steering.slope.fraction

    @property
    def main(self) -> AblationEffect:
        """The main ablation: ``mean`` if it was made, or else the first."""
        return self.effect("mean") or self.effects[0]

    def effect(self, kind: str) -> AblationEffect | None:
        """The effect of one ablation."""
        return next((one for one in self.effects if one.kind == kind), None)
