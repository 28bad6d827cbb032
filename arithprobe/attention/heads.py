r"""Statistics of attention heads, as sums over rows: what each looks at, how sharply, and what it could add.

For row b of T tokens and one head, :math:`p_{qk}` is the attention from query q to key k, and :math:`f(x_k) = W_O (W_V
x_k + b_V)` what the head would add to the stream if it looked at token k alone.

=============== ====================================================================================================
mass            :math:`\sum_{k \in g} p_{qk}`, g a role or a group of roles, averaged over rows
token entropy   :math:`-\sum_k p_{qk} \log p_{qk}` in nats, averaged over rows
norm            :math:`p_{qk} \|f(x_k)\|`: the value-weighted norm (Kobayashi et al. 2020,
                https://arxiv.org/abs/2004.10102), averaged over rows
OV copying      :math:`\sum_i \mathrm{Re} \lambda_i / \sum_i |\lambda_i|` over the eigenvalues of :math:`W_O W_V`: 1
                writes what it reads, -1 its opposite (Elhage et al. 2021,
                https://transformer-circuits.pub/2021/framework; there between embedding and unembedding, which a model
                that answers a number has not)
=============== ====================================================================================================

Attention spread evenly over the tokens of a prompt gives x and y much mass too, because they are long. So beside each
value stands its value under uniform attention on the same rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from arithprobe.attention.roles import GROUPS, RoleGroup, RoleMatrix, role_matrix
from arithprobe.models.network import HeadedNetwork
from arithprobe.problems.grammar import LAST_ROLE
from arithprobe.problems.rows import Rows

_ROWS = 500  # patterns that are added at a time, so that they stay in the cache of a core
_TINY = 1e-300  # instead of 0 in a logarithm


@dataclass(frozen=True)
class HeadStatistics:
    """Means over rows, for L layers of H heads; float64 on the CPU.

    ``mass``, ``norm`` and the entropies are from the last real token; the matrices have all roles.
    """

    n: int
    """Number of rows that the means are over."""
    roles: tuple[str, ...]
    """R roles, in reading order."""
    groups: Tensor
    """(R, 5) 1 where a role is of a group, in the order of :data:`~arithprobe.attention.roles.GROUPS`."""
    rows_of: Tensor
    """(R,) rows that have each role."""
    role_mass: Tensor
    """(L, H, R, R) attention from role to role, over the rows that have the first; each line sums to 1."""
    uniform_role_mass: Tensor
    """(R, R) the same under uniform attention."""
    role_entropy: Tensor
    """(L, H, R) token entropy of each query role."""
    uniform_role_entropy: Tensor
    """(R,) the same under uniform attention: the mean of the log of the length."""
    role_norm: Tensor
    """(L, H, R, R) value-weighted norm from role to role, in units of the residual stream."""
    uniform_role_norm: Tensor
    """(L, H, R, R) the same under uniform attention."""

    @property
    def mass(self) -> Tensor:
        """(L, H, 5) attention from the last token to each group; sums to 1."""
        return self.from_last(self.role_mass)

    @property
    def uniform_mass(self) -> Tensor:
        """(5,) the same under uniform attention."""
        return self.from_last(self.uniform_role_mass)

    @property
    def entropy(self) -> Tensor:
        """(L, H) token entropy of the last token, in nats."""
        found: Tensor = self.role_entropy[..., self._last]
        return found

    @property
    def uniform_entropy(self) -> Tensor:
        """() the same under uniform attention."""
        found: Tensor = self.uniform_role_entropy[self._last]
        return found

    @property
    def norm(self) -> Tensor:
        """(L, H, 5) value-weighted norm from the last token to each group, in units of the stream."""
        return self.from_last(self.role_norm)

    @property
    def uniform_norm(self) -> Tensor:
        """(L, H, 5) the same under uniform attention."""
        return self.from_last(self.uniform_role_norm)

    @property
    def norm_share(self) -> Tensor:
        """(L, H, 5) share of each group in the summed value-weighted norms from the last token; sums to 1."""
        return self.norm / self.norm.sum(dim=-1, keepdim=True)

    @property
    def uniform_norm_share(self) -> Tensor:
        """(L, H, 5) the same under uniform attention."""
        return self.uniform_norm / self.uniform_norm.sum(dim=-1, keepdim=True)

    @property
    def _last(self) -> int:
        return self.roles.index(LAST_ROLE)

    def from_last(self, by_role: Tensor) -> Tensor:
        """(..., 5) by group, from the last token, of (..., R, R) sums by role."""
        found: Tensor = by_role[..., self._last, :] @ self.groups
        return found

    @property
    def last_role_mass(self) -> Tensor:
        """(L, H, R) attention from the last token to each role; sums to 1."""
        return self.role_mass[..., self._last, :]

    @property
    def uniform_last_role_mass(self) -> Tensor:
        """(R,) the same under uniform attention."""
        return self.uniform_role_mass[self._last]

    @property
    def groups_present(self) -> list[RoleGroup]:
        """The groups that some character of the prompts is of."""
        return [group for group, mass in zip(GROUPS, self.uniform_mass.tolist(), strict=True) if mass > 0]


def operand_mass(mass: Tensor) -> Tensor:
    """(...) share on the digits of x and y, of (..., 5) masses by group: the notebook's ``copy_score``."""
    return mass[..., _at("x")] + mass[..., _at("y")]


def operand_imbalance(mass: Tensor) -> Tensor:
    """(...) ``|mass on x - mass on y|``, of (..., 5) masses by group: the notebook's ``balance_score``."""
    return (mass[..., _at("x")] - mass[..., _at("y")]).abs()


def group_entropy(mass: Tensor) -> Tensor:
    """(...) entropy in nats over the five groups, of (..., 5) masses, normalised: the notebook's ``entropy``."""
    found: Tensor = torch.special.entr(mass / mass.sum(dim=-1, keepdim=True)).sum(dim=-1)
    return found


class HeadSums:
    """Adds up the patterns of batches of rows; sums, so batches, files and ranks merge exactly.

    Args:
        layout: (N,) kind of every row of the data set.
        roles: The role of each token, for G kinds of rows.
        n_layers: The number L.
        n_heads: The number H.

    Attributes:
        state: Everything it holds, float64, by layout: (G,) rows; (G, L, H, T, T) attention from query to key;
            (G, L, H, T) entropy of each query; (G, L, H, T, T) value-weighted norms; (G, L, H, T) norms of ``f(x_k)``.
    """

    def __init__(self, layout: Tensor, roles: Sequence[Sequence[str]], n_layers: int, n_heads: int) -> None:
        self.roles: RoleMatrix = role_matrix(roles)
        self._layout = layout
        count, length = self.roles.tokens.shape[:2]
        pairs = (count, n_layers, n_heads, length, length)
        shapes = ((count,), pairs, pairs[:-1], pairs, pairs[:-1])
        self.state = tuple(torch.zeros(shape, dtype=torch.float64) for shape in shapes)

    @classmethod
    def of(cls, model: HeadedNetwork, rows: Rows) -> "HeadSums":
        """Empty sums for the heads of a model on the rows of a data set."""
        return cls(rows.layout, rows.roles, model.n_layers, model.n_heads)

    def update(self, model: HeadedNetwork, states: Mapping[str, Tensor], rows: Tensor) -> "HeadSums":
        """Add a batch, from the states of a forward pass: patterns are computed from what went into each layer.

        Args:
            model: The model.
            states: (B, T, D) by site.
            rows: (B,) row numbers.
        """
        layout = self._layout[rows.cpu()]
        lengths = self.roles.lengths[layout].long()
        with torch.no_grad():
            for layer in range(model.n_layers):
                self.add(layer, *model.patterns_and_norms(layer, states, lengths), layout)
        self.state[0].add_(torch.bincount(layout, minlength=len(self.state[0])))
        return self

    def add(self, layer: int, pattern: Tensor, norms: Tensor, layout: Tensor) -> None:
        """Add the patterns of one layer; the rows themselves are counted by :meth:`update`.

        Args:
            layer: Its number.
            pattern: (B, H, T, T) attention, 0 at padded keys.
            norms: (B, H, T) norm of what each token would add.
            layout: (B,) layout of each row.
        """
        short = self.state[-1].shape[-1] - norms.shape[-1]  # of a batch that is padded less than the data set
        of = F.one_hot(layout, len(self.state[0])).double()  # (B, G)
        for rows in torch.split(torch.arange(len(layout)), _ROWS):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            attention = F.pad(pattern[part].cpu().double(), (0, short, 0, short))
            sizes = F.pad(norms[part].cpu().double(), (0, short))
            entropy = attention.clamp(min=_TINY).log_().mul_(attention).sum(dim=-1).neg_()
            found = (attention, entropy, attention * sizes[:, :, None], sizes)
            for sums, values in zip(self.state[1:], found, strict=True):
                own = sums[:, layer]
                own += (of[part].T @ values.flatten(1)).view(own.shape)

    def fit(self) -> HeadStatistics:
        """The means over all rows added."""
        count, pattern, entropy, weighted, sizes = self.state
        roles, tokens, lengths = self.roles, self.roles.tokens, self.roles.lengths
        rows_of = torch.einsum("g,gtr->r", count, tokens)
        per_query = rows_of[:, None]
        uniform_mass = torch.einsum("g,gtr,gus->rs", count / lengths, tokens, tokens)
        uniform_norm = torch.einsum("g,gtr,glhu,gus->lhrs", 1 / lengths, tokens, sizes, tokens)
        return HeadStatistics(
            n=int(count.sum()),
            roles=roles.roles,
            groups=roles.groups,
            rows_of=rows_of,
            role_mass=roles.of_pairs(pattern) / per_query,
            uniform_role_mass=uniform_mass / per_query,
            role_entropy=roles.of_tokens(entropy) / rows_of,
            uniform_role_entropy=torch.einsum("g,gtr->r", count * lengths.log(), tokens) / rows_of,
            role_norm=roles.of_pairs(weighted) / per_query,
            uniform_role_norm=uniform_norm / per_query,
        )


def ov_copying(model: HeadedNetwork) -> Tensor:
    """(L, H) float64 OV copying score of each head, -1 to 1; NaN for a head that writes nothing of what it reads."""
    found = []
    for layer in range(model.n_layers):
        values, out = (part.detach().cpu().double() for part in model.ov_circuits(layer))
        own = torch.linalg.eigvals(values @ out)  # (H, D / H): those of W_O W_V that are not 0
        found.append(own.real.sum(dim=-1) / own.abs().sum(dim=-1))
    return torch.stack(found)


def _at(group: RoleGroup) -> int:
    return GROUPS.index(group)
