r"""Frozen erasers: projections, fitted from moments alone, after which a quantity can no longer be read from a state.

Every eraser is a projection :math:`h - L R^T (h - \mu)` with :math:`R^T L = I`, orthogonal if ``L = R``:

=================== =================================================================================================
``probe``           the span of a probe's directions, of a penalty of at least 10 mean variances of the state
                    (``moments.STEADY``); other directions may still carry the quantity
``mean_difference`` the span of the covariance of states and targets: the difference of class means, for classes
``leace``           the smallest change after which no linear probe finds anything: ``L = W^+ Q``, ``R = W Q`` with
                    ``W = S^{-1/2}`` and Q a basis of ``W S_hz`` (Belrose et al. 2023, https://arxiv.org/abs/2306.03819)
``inlp``            directions of least squares without a penalty, one fit after another on what is left, to a given
                    rank (Ravfogel et al. 2020, https://arxiv.org/abs/2004.07667)
=================== =================================================================================================

All tolerances are relative, so an eraser does not depend on the units of the target.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.files import write_whole
from arithprobe.interventions.directions import inlp, leace, mean_difference, projection, ridge_slope
from arithprobe.interventions.kinds import ErasureKind, require_kind
from arithprobe.linalg import Array, require_rank
from arithprobe.models.weights import read_checkpoint
from arithprobe.probes.moments import ALPHAS, AlphaChoice, Moments, alpha_choice

_PROJECTION = 1e-6  # by which twice may differ from once


@dataclass(frozen=True)
class Eraser:
    """A projection for each of P positions of one site, which removes a target from the states."""

    target: str
    """Name of what it takes out, a probe's target such as ``sum``."""
    kind: str
    """How, one of :data:`~arithprobe.interventions.kinds.ErasureKind`."""
    site: str
    """Name of the site that its states come from, such as ``resid_post.1``."""
    positions: tuple[str, ...]
    """The P positions."""
    left: Tensor
    """(P, D, R) float64 what is subtracted; columns of zeros where there is nothing to take out."""
    right: Tensor
    """(P, D, R) float64 how much of it is read."""
    mean: Tensor
    """(P, D) float64 mean state of the rows it was fitted on."""
    checkpoint: str = ""
    """Hash of the weights of the model, see :func:`~arithprobe.models.checkpoints.weights_hash`."""

    @property
    def name(self) -> str:
        """The name as in the ledger, such as ``sum:leace``."""
        return f"{self.target}:{self.kind}"

    @property
    def rank(self) -> int:
        """The rank R."""
        return self.left.shape[-1]

    def __call__(self, states: Tensor) -> Tensor:
        """(N, P, D) states without the quantity, of the same type, from (N, P, D).

        Raises:
            ArithprobeError: If the states have other positions or another width.
        """
        self.require_width(states)
        return self.without(states, self.mean.to(states))

    def without(self, states: Tensor, donor: Tensor) -> Tensor:
        """Return (N, P, D) states with the erased part of ``donor``, which broadcasts to their shape."""
        left, right = self.left.to(states), self.right.to(states)
        moved = torch.einsum("npd,pdr->npr", donor - states, right)
        return states + torch.einsum("npr,pdr->npd", moved, left)

    def require_width(self, states: Tensor) -> None:
        """Check that the eraser fits states of this shape.

        Raises:
            ArithprobeError: If it does not; the text names both shapes.
        """
        if states.ndim != 3 or states.shape[1:] != self.left.shape[:2]:
            raise ArithprobeError(
                f"eraser {self.name!r} is for states (N, {', '.join(map(str, self.left.shape[:2]))}) at {self.site}; "
                f"got {tuple(states.shape)}"
            )

    def save(self, path: str | Path) -> Path:
        """Write the eraser to a file."""
        content = BytesIO()
        torch.save(asdict(self), content)
        return write_whole(Path(path), content.getvalue())


def load_eraser(path: str | Path) -> Eraser:
    """Read an eraser that :meth:`Eraser.save` wrote.

    Raises:
        ArithprobeError: If the file holds something else.
    """
    content = read_checkpoint(path)
    parts = {name: content.get(name) for name in ("left", "right", "mean")}
    words = {name: content.get(name) for name in ("target", "kind", "site", "checkpoint")}
    positions = content.get("positions")
    known = set(content) == set(Eraser.__dataclass_fields__) and all(isinstance(word, str) for word in words.values())
    known &= isinstance(positions, tuple) and all(isinstance(one, str) for one in positions)
    if not known or words["kind"] not in get_args(ErasureKind) or not _fit_together(parts, len(content["positions"])):
        raise ArithprobeError(f"{path}: is no eraser; expected a file that `arithprobe intervene` wrote")
    return Eraser(**content)


def _fit_together(parts: dict[str, Any], positions: int) -> bool:
    """Whether the tensors of a file make a projection at each of so many positions."""
    plain = [isinstance(part, Tensor) and part.dtype == torch.float64 and not part.is_sparse for part in parts.values()]
    if not all(plain) or not all(bool(part.isfinite().all()) for part in parts.values()):
        return False
    left, right, mean = parts.values()
    if left.ndim != 3 or left.shape != right.shape or mean.shape != left.shape[:2] or left.shape[0] != positions:
        return False
    once = left @ right.transpose(1, 2)
    return left.numel() > 0 and bool(torch.allclose(once @ once, once, atol=_PROJECTION, rtol=_PROJECTION))


def fit_erasers(
    kind: ErasureKind,
    moments: Moments,
    *,
    target: str,
    site: str,
    positions: Sequence[str],
    rank: int | None = None,
    choice: AlphaChoice | None = None,
    checkpoint: str = "",
) -> Eraser:
    """Fit an eraser at each position.

    Args:
        kind: The kind of eraser.
        moments: Moments of P cells, the positions, with the target's K columns.
        target: Name of the target.
        site: The site of the cells.
        positions: The P positions.
        rank: Number of directions that ``inlp`` removes; K by default.
        choice: Ridge penalties of ``probe``, those of all probes by default; ``inlp`` is least squares, as published.
        checkpoint: Hash of the model's weights.

    Raises:
        ArithprobeError: If the kind is unknown, or the rank is not 1 to D.
    """
    require_kind(kind, ErasureKind, "eraser")
    d, k = moments.mean_states.shape[1], moments.cross.shape[2]
    if kind == "inlp":
        require_rank(k if rank is None else rank, d)
    choice = choice or alpha_choice(ALPHAS)
    fits: dict[ErasureKind, Callable[[Moments], tuple[Array, Array]]] = {
        "probe": lambda cell: _twice(projection(ridge_slope(cell, choice.steady))),
        "mean_difference": lambda cell: _twice(mean_difference(cell)),
        "leace": leace,
        "inlp": lambda cell: _twice(inlp(cell, rank or k)),
    }
    cells = [moments.cell(index) for index in range(len(moments.gram))]
    nothing = _twice(np.zeros((d, 0)))  # of states that overflow
    parts = [fits[kind](cell) if np.isfinite(cell.gram).all() else nothing for cell in cells]
    width = max(1, *(left.shape[1] for left, _ in parts))
    left, right = (np.stack([_widened(part[side], width) for part in parts]) for side in (0, 1))
    mean = np.where(np.isfinite(moments.mean_states).all(axis=1, keepdims=True), moments.mean_states, 0.0)
    return Eraser(
        target=target,
        kind=kind,
        site=site,
        positions=tuple(positions),
        left=torch.from_numpy(left),
        right=torch.from_numpy(right),
        mean=torch.from_numpy(mean),
        checkpoint=checkpoint,
    )


def _twice(basis: Array) -> tuple[Array, Array]:
    return basis, basis


def _widened(part: Array, width: int) -> Array:
    return np.pad(part, ((0, 0), (0, width - part.shape[1])))
