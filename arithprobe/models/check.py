"""A check of whether a network keeps the promises of :class:`~arithprobe.models.network.Network`, in one screen.

An instrument that reads one state and edits another gives meaningless numbers, and no error. So every network that is
not this library's own is checked on a few of its rows before anything is measured on it, and the record shows what the
check found.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from arithprobe.errors import OF_OTHER_CODE, ArithprobeError, require_at_least
from arithprobe.models.cells import placed
from arithprobe.models.fidelity import Fidelity, Yardstick
from arithprobe.models.hooks import capture, edit, module_of
from arithprobe.models.network import (
    Network,
    Site,
    device_of,
    frozen_copy,
    require_evaluation,
    require_network,
    uncompiled,
)
from arithprobe.models.watch import watched
from arithprobe.problems.rows import Inputs, Rows, require_rows

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
_HALF = 4.0  # times what a second plain pass in single precision differs by, of a network in half precision
_ALONE, _EDITS = 8, 2  # rows run alone, and edits of each site


def check(network: Network, rows: Rows, examples: int = 24, seed: int = 0) -> Fidelity:
    """Verify a network on a few rows.

    The check verifies that every hook fires once per pass and holds (B, T, D); that an identity edit changes no bit;
    that putting a row's own state back gives its own output, and putting in the whole stream of another row gives that
    row's output; that a row alone equals the row in a padded batch; that ``run_from`` equals the edited whole pass, and
    gradients flow through it; that a pass changes no weight; and that untrained twins with equal seeds are equal.

    Args:
        network: The network, in evaluation mode.
        rows: Rows that it reads.
        examples: How many of them are run, from all over the data.
        seed: Seed of the edits, and of the untrained twin.

    Raises:
        ArithprobeError: If it is not a network, is in training mode, or cannot be run; or if ``rows`` are not rows.
    """
    require_network(network)
    require_evaluation(network)
    require_rows(rows)
    require_at_least("check: ", examples=(examples, 1), seed=(seed, 0))
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=[]):
        return _Check(network, rows, examples, seed).fidelity()


class _Check:
    def __init__(self, network: Network, rows: Rows, examples: int, seed: int) -> None:
        whole = uncompiled(network)
        if not isinstance(whole, nn.Module) or not isinstance(whole, Network):
            raise ArithprobeError(f"expected a torch.nn.Module that is a Network; got a {type(whole).__name__}")
        self.network, self.module, self.seed, self.problems = whole, whole, seed, list[str]()
        some = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:examples].sort().values
        self.inputs = Inputs(*(one.to(device_of(whole)) for one in rows.inputs(some)))
        self.weights = {name: value.clone() for name, value in whole.state_dict().items()}
        try:
            self.plain, cache = whole.run_with_cache(self.inputs)
        except OF_OTHER_CODE as error:
            raise ArithprobeError(
                f"the {type(whole).__name__} cannot be run on rows {tuple(self.inputs.ids.shape)} of {rows.path}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        self.token = torch.arange(self.inputs.ids.shape[1], device=device_of(whole)).expand_as(self.inputs.ids)
        self.valid = self.token < self.inputs.lengths[:, None]
        self.states, self.unreached = cache.states, list[str]()
        if self.plain.ndim != 2 or len(self.plain) != len(some):
            raise ArithprobeError(
                f"the outputs of {len(some)} rows are {tuple(self.plain.shape)}; expected ({len(some)}, K), a row each"
            )
        self.yardstick, known = Yardstick(self.plain), _TOLERANCE.get(self.plain.dtype)
        self.off = self.yardstick.off
        self.second = self.off(whole(*(one.flip(0) for one in self.inputs)).flip(0), self.plain)
        self.tolerance = _HALF * self._rounding() if known is None else known

    def fidelity(self) -> Fidelity:
        """All promises, one after another."""
        good, identity, put_back, run_from = self._sites(), 0.0, 0.0, 0.0
        if not bool(self.plain.isfinite().all()):
            self.problems.insert(0, "an output is not finite")
            good = []
        if self.yardstick.is_too_coarse and self.plain.dtype in _TOLERANCE:
            self.problems.append(f"outputs differ between rows by less than rounding in {self.plain.dtype} may do")
        self._promise("a second plain pass", self.second)
        self._promise("a pass that keeps no states", self.off(self.network(*self.inputs), self.plain))
        for site in good:
            identity = max(identity, self._identity(site))
            off = self.off(self._edited(site, self.states[site][None], self.valid)[0], self.plain)
            put_back = max(put_back, self._promise(f"the output with its own states put back at {site!r}", off))
            run_from = max(run_from, self._run_from(site))
            self._differentiate(site)
        untrained, unchanged = self._twin()
        now = self.network.state_dict()
        changed = [name for name, value in self.weights.items() if not torch.equal(value, now[name])]
        self.problems += [f"a pass in evaluation mode changes {name!r}" for name in changed[:1]]
        return Fidelity(
            network=type(self.network).__name__,
            dtype=str(self.plain.dtype).removeprefix("torch."),
            rows=len(self.plain),
            sites=tuple(self.network.sites),
            tolerance=self.tolerance,
            second_pass=self.second,
            identity=identity,
            put_back=put_back,
            whole_source=self._whole_sources(good),
            alone=self._alone(),
            run_from=run_from,
            untrained=untrained,
            unchanged=unchanged,
            unreached=tuple(self.unreached),
            coarse=self.yardstick.is_too_coarse,
            problems=tuple(self.problems),
        )

    def _promise(self, what: str, off: float, why: str = "") -> float:
        if not off <= self.tolerance:
            self.problems.append(f"{what} differs by {off:.2g} of the spread of the outputs{why}")
        return off

    def _rounding(self) -> float:
        """Difference from a pass in single precision, whose outputs are not rounded."""
        copied = frozen_copy(self.network)
        if isinstance(copied, nn.Module):
            copied.float()
        return self.off(copied(*(one.cpu() for one in self.inputs)).float(), self.plain.float().cpu())

    def _sites(self) -> list[str]:
        """The sites whose hooks fire once a pass and hold what the network says."""
        good, seen = list[str](), dict[Site, str]()
        with watched(
            (name, module_of(self.module, name), site.side) for name, site in self.network.sites.items()
        ) as fired:
            self.network(*self.inputs)
        with capture(self.module, list(dict.fromkeys(fired)), copies=True) as states:
            self.network(*self.inputs)
        for name, site in self.network.sites.items():
            other = seen.setdefault(site._replace(n_heads=None), name)
            if other != name:
                self.problems.append(f"sites {other!r} and {name!r} are one state, the {site.side} of {site.module!r}")
            elif fired.count(name) != 1:
                times = f"fires {fired.count(name)} times in a pass" if name in fired else "never fired"
                self.problems.append(f"the hook at {name!r} {times}; expected once")
            elif self._holds(name, states[name]):
                good.append(name)
        along = self.network.residual_sites
        met = [name for name in dict.fromkeys(fired) if name in along]
        if len(met) == len(along) and tuple(met) != tuple(along):
            self.problems.append(f"a pass comes by the residual sites as {', '.join(met)}, not {', '.join(along)}")
        return good

    def _holds(self, site: str, found: Tensor) -> bool:
        """Whether a state that a hook saw is the one that the network says."""
        shape, own = (*self.inputs.ids.shape, self.network.width(site)), self.states.get(site)
        if found.shape != shape or own is None or own.shape != shape:
            got = found.shape if own is None or found.shape != shape else own.shape
            self.problems.append(f"site {site!r} is {tuple(got)}; expected (B, T, D), {shape}")
            return False
        size = max(float(found.abs().max()), 1e-30)
        off = float((found - own).abs().max()) / size
        if not off <= self.tolerance:
            self.problems.append(f"the state at {site!r} that a hook sees differs by {off:.2g} of its largest value")
        return True

    def _identity(self, site: str) -> float:
        """Difference of two passes with a hook at one site, one of which edits nothing; must be 0 to the bit."""
        with edit(self.module, site, torch.clone):
            edited = self.network(*self.inputs)
        with capture(self.module, [site]):
            plain, again = self.network(*self.inputs), self.network(*self.inputs)
        if not torch.equal(edited, plain) and torch.equal(plain, again):
            self.problems.append(f"an edit at {site!r} that changes nothing changes the outputs")
        return self.off(edited, plain)

    def _whole_sources(self, good: list[str]) -> float:
        """Put the stream of a row of the same length in; what reads it elsewhere, past an edit, keeps the output."""
        ids, lengths = self.inputs
        own = torch.arange(len(ids), device=ids.device)
        others = (lengths[:, None] == lengths) & (ids[:, None] != ids).any(dim=-1)  # problems that are not the same
        ahead = torch.where(others, (own - own[:, None]) % len(own), len(own)).argmin(dim=1)
        paired = others.any(dim=1)
        donors = torch.where(paired, ahead, own)
        if not bool(paired.any()):
            return float("nan")
        worst = 0.0
        for site in (site for site in self.network.residual_sites if site in good):
            found = self._edited(site, self.states[site][donors][None], self.valid)[0][paired]
            what = f"the output with the whole stream of a source at {site!r}"
            off = self.off(found, self.plain[donors][paired])
            worst = max(worst, self._promise(what, off, ", as if something reads past that site"))
        return worst

    def _alone(self) -> float:
        ids, lengths = self.inputs
        short = lengths < ids.shape[1]  # than the longest row of the data
        off = self.off(self.network(ids[short], lengths[short]), self.plain[short]) if bool(short.any()) else 0.0
        for row in range(0, len(self.plain), max(1, len(self.plain) // _ALONE)):
            own = Inputs(ids[row : row + 1, : int(lengths[row])], lengths[row : row + 1])
            off = max(off, self.off(self.network(*own), self.plain[row : row + 1]))
        return self._promise("a row alone, and in a padded batch,", off)

    def _run_from(self, site: str) -> float:
        """Edit half of the tokens at random, by ``run_from`` and in a whole pass."""
        generator = torch.Generator().manual_seed(self.seed)
        chosen = self.valid & (torch.rand(self.valid.shape, generator=generator) < 0.5).to(self.valid.device)
        state, off = self.states[site], 0.0
        new = state + torch.randn((_EDITS, *state.shape), generator=generator).to(state) * state.std()
        found = self._edited(site, new, chosen)
        for number in range(_EDITS):
            with edit(self.module, site, partial(placed, cells=new[number], token=self.token, valid=chosen)):
                off = max(off, self.off(found[number], self.network(*self.inputs)))
        if torch.equal(found, self.plain.expand_as(found)):
            self.unreached.append(site)
        return self._promise(f"run_from({site!r}, ...), and a whole pass with the same edit,", off)

    def _differentiate(self, site: str) -> None:
        """A gradient of the outputs with respect to a state."""
        with torch.enable_grad():
            own = self.states[site].detach().clone().requires_grad_()
            try:
                found = self._edited(site, own[None], self.valid)
                if site not in self.unreached:
                    torch.autograd.grad(found.sum(), own)
            except (ArithprobeError, RuntimeError) as error:
                self.problems.append(f"no gradient through run_from({site!r}, ...): {str(error).splitlines()[0]}")

    def _edited(self, site: str, cells: Tensor, chosen: Tensor) -> Tensor:
        """(M, B, K) outputs with (M, B, T, D) states at the chosen tokens."""
        return self.network.run_from(site, cells, self.token, chosen, self.states, self.inputs)

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
        now = self.network.state_dict()
        pairs = {name: (value.cpu(), one[name].cpu()) for name, value in now.items() if name in one}
        return "equal between equal seeds", tuple(name for name, pair in pairs.items() if torch.equal(*pair))


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
