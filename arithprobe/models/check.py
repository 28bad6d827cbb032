"""Does a network keep what :class:`~arithprobe.models.network.Network` promises? One screen says so.

An instrument that reads one thing and edits another gives figures without a meaning, and no error. So every network
that is not this library's own is checked on a few of its rows before anything is measured on it, and what was found
stands in the record.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.cells import placed
from arithprobe.models.hooks import capture, edit
from arithprobe.models.network import Network, frozen_copy, require_evaluation, require_network
from arithprobe.problems.rows import Inputs, Rows

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
_HALF = 4.0  # times what a second plain pass in single precision differs by, of a network in half precision
_ALONE, _EDITS = 8, 2  # rows run alone, and edits of each site


@dataclass(frozen=True)
class Fidelity:
    """What a check found; differences are the largest of any output, as shares of the largest output."""

    network: str
    """Its class."""
    dtype: str
    """Of its outputs."""
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
    problems: tuple[str, ...]
    """The promises that it breaks; empty where all are kept."""

    def required(self) -> "Fidelity":
        """Itself, if all promises are kept.

        Raises:
            ArithprobeError: Naming the first that is not.
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
            f"{self.tolerance:.1g}): identity edit {self.identity:.1g}, whole source {self.whole_source:.1g}, "
            f"a row alone {self.alone:.1g}, run_from {self.run_from:.1g}, a second pass {self.second_pass:.1g}; "
            f"untrained: {self.untrained}; equal to it: {', '.join(self.unchanged) or 'no weights'}"
        )


def fidelity_record(fidelity: Fidelity | None) -> dict[str, Any]:
    """A part of a record; nothing for a network that needed no check."""
    return {} if fidelity is None else {"fidelity": asdict(fidelity)}


def check(network: Network, rows: Rows, examples: int = 24, seed: int = 0) -> Fidelity:
    """Verify a network on a few rows.

    Every hook fires and holds (B, T, D); an edit that changes nothing changes no bit; the whole stream of a source, put
    in at any residual site, gives the source's output; a row alone equals the row in a padded batch; ``run_from``
    equals the edited whole pass; an untrained twin is equal between equal seeds.

    Args:
        network: The network, in evaluation mode.
        rows: Rows that it reads.
        examples: How many of them are run, from all over the data.
        seed: Of the edits, and of the untrained twin.

    Raises:
        ArithprobeError: If it is no network, is in training mode, or cannot be run.
    """
    require_network(network)
    require_evaluation(network)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return _Check(network, rows, examples, seed).fidelity()


class _Check:
    def __init__(self, network: Network, rows: Rows, examples: int, seed: int) -> None:
        self.network, self.seed, self.problems = network, seed, list[str]()
        some = torch.linspace(0, len(rows) - 1, min(len(rows), examples), dtype=torch.float64).round().long()
        device = next(network.parameters()).device
        self.inputs = Inputs(*(one.to(device) for one in rows.inputs(some)))
        self.plain, cache = network.run_with_cache(self.inputs)
        self.states = cache.states
        if self.plain.ndim != 2 or len(self.plain) != len(some):
            raise ArithprobeError(
                f"the outputs of {len(some)} rows are {tuple(self.plain.shape)}; expected ({len(some)}, K), a row each"
            )
        self.scale = max(float(self.plain.abs().max()), 1e-30)
        self.second = self._off(network(*(one.flip(0) for one in self.inputs)).flip(0), self.plain)
        known = _TOLERANCE.get(self.plain.dtype)
        self.tolerance = _HALF * self._rounding() if known is None else known

    def fidelity(self) -> Fidelity:
        """All promises, one after another."""
        self._passes()
        good = [site for site in self.network.sites if self._fires(site)]
        identity = max((self._identity(site) for site in good), default=0.0)
        run_from = max((self._run_from(site) for site in good), default=0.0)
        untrained, unchanged = self._twin()
        return Fidelity(
            network=type(self.network).__name__, dtype=str(self.plain.dtype).removeprefix("torch."),
            rows=len(self.plain), sites=tuple(self.network.sites), tolerance=self.tolerance, second_pass=self.second,
            identity=identity, whole_source=self._whole_sources(good), alone=self._alone(), run_from=run_from,
            untrained=untrained, unchanged=unchanged, problems=tuple(self.problems),
        )  # fmt: skip

    def _off(self, found: Tensor, wanted: Tensor) -> float:
        return float((found - wanted).abs().max()) / self.scale if found.shape == wanted.shape else float("inf")

    def _rounding(self) -> float:
        """Difference of a pass in single precision."""
        copied = frozen_copy(self.network)
        if isinstance(copied, nn.Module):
            copied.float()
        inputs = (one.cpu() for one in self.inputs)
        return self._off(copied(*inputs), self.plain.cpu().float())

    def _promise(self, what: str, off: float, limit: float | None = None) -> float:
        if not off <= (self.tolerance if limit is None else limit):
            self.problems.append(f"{what} differs by {off:.2g} of the largest output")
        return off

    def _module(self) -> nn.Module:
        if not isinstance(self.network, nn.Module):
            raise ArithprobeError(f"expected a torch.nn.Module; got a {type(self.network).__name__}")
        return self.network

    def _passes(self) -> None:
        if not bool(self.plain.isfinite().all()):
            self.problems.append("an output is not finite")
        self._promise("a second plain pass", self.second)
        self._promise("a pass that keeps no states", self._off(self.network(*self.inputs), self.plain))

    def _fires(self, site: str) -> bool:
        """Whether the hook of a site fires and holds what the network says."""
        shape = (*self.inputs.ids.shape, self.network.width(site))
        try:
            with capture(self._module(), [site]) as states:
                self.network(*self.inputs)
        except ArithprobeError as error:
            self.problems.append(str(error))
            return False
        found, own = states[site], self.states.get(site)
        if found.shape != shape or own is None or own.shape != shape:
            self.problems.append(f"site {site!r} is {tuple(found.shape)}; expected (B, T, D), {shape}")
            return False
        if not torch.equal(found, own):
            self._promise(f"the state at {site!r} that a hook sees", float((found - own).abs().max()), 0.0)
        return True

    def _identity(self, site: str) -> float:
        with edit(self._module(), site, torch.clone):
            off = self._off(self.network(*self.inputs), self.plain)
        plain = self._off(self.network(*self.inputs), self.plain)  # 0, but for kernels that are not deterministic
        return self._promise(f"an edit at {site!r} that changes nothing", off, plain)

    def _whole_sources(self, good: list[str]) -> float:
        """Put the stream of a row of the same length in; what reads it elsewhere, past an edit, keeps the output."""
        lengths, donors = self.inputs.lengths.cpu(), torch.arange(len(self.plain))
        for length in torch.unique(lengths).tolist():
            own = (lengths == length).nonzero()[:, 0]
            donors[own] = own.roll(1)
        paired = donors != torch.arange(len(donors))
        if not bool(paired.any()):
            return float("nan")
        token, valid = self._every_token()
        worst = 0.0
        for site in (site for site in self.network.residual_sites if site in good):
            cells = self.states[site][donors][None]
            found = self.network.run_from(site, cells, token, valid, self.states, self.inputs)[0]
            off = self._off(found[paired], self.plain[donors][paired])
            worst = max(worst, self._promise(f"the output with the whole stream of a source at {site!r}", off))
        return worst

    def _alone(self) -> float:
        off = 0.0
        for row in range(0, len(self.plain), max(1, len(self.plain) // _ALONE)):
            length = int(self.inputs.lengths[row])
            own = Inputs(self.inputs.ids[row : row + 1, :length], self.inputs.lengths[row : row + 1])
            off = max(off, self._off(self.network(*own), self.plain[row : row + 1]))
        return self._promise("a row alone, and in a padded batch,", off)

    def _run_from(self, site: str) -> float:
        """Edit half of the tokens at random, by ``run_from`` and in a whole pass."""
        token, valid = self._every_token()
        generator = torch.Generator().manual_seed(self.seed)
        chosen = valid & (torch.rand(valid.shape, generator=generator) < 0.5).to(valid.device)
        state = self.states[site]
        noise = torch.randn((_EDITS, *state.shape), generator=generator).to(state)
        new = state + noise * state.std()
        found = self.network.run_from(site, new, token, chosen, self.states, self.inputs)
        off = 0.0
        for number in range(_EDITS):
            with edit(self._module(), site, partial(placed, cells=new[number], token=token, valid=chosen)):
                off = max(off, self._off(found[number], self.network(*self.inputs)))
        return self._promise(f"run_from({site!r}, ...), and a whole pass with the same edit,", off)

    def _every_token(self) -> tuple[Tensor, Tensor]:
        ids, lengths = self.inputs
        token = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        return token, token < lengths[:, None]

    def _twin(self) -> tuple[str, tuple[str, ...]]:
        before = torch.get_rng_state()
        try:
            one, again, other = (self.network.untrained(self.seed + more).state_dict() for more in (0, 0, 1))
        except ArithprobeError as error:
            return str(error), ()
        if not torch.equal(before, torch.get_rng_state()):
            self.problems.append("untrained(seed) touches the global random state")
        if not _equal(one, again):
            self.problems.append("untrained(seed) gives two networks for one seed")
        if _equal(one, other):
            self.problems.append("untrained(seed) gives one network for two seeds")
        own = self.network.state_dict()
        unchanged = tuple(
            name for name, value in own.items() if name in one and torch.equal(value.cpu(), one[name].cpu())
        )
        return "equal between equal seeds", unchanged


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
