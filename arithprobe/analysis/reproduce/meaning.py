"""What the notebook's numbers mean, in sentences made from the numbers and their controls."""

from typing import NamedTuple

from arithprobe.analysis.reproduce.columns import ByProtocol, Protocols, by_protocol, number
from arithprobe.analysis.reproduce.notebook import SMALL_PERIODS
from arithprobe.behaviour import Behaviour

_REFIT = "A refitted head shows what another linear readout could still use, not what the model uses."
_LAST_SITE = "The states are those of `final`, one linear layer before the answer."
_LEAST_COST = 0.01  # of the MSE; less is no loss
_STOPPED = "The notebook stops training by the test part that it then scores, which can only raise the score"


class AttentionControls(NamedTuple):
    """The controls for the attention of heads to the operands."""

    uniform: float
    """Under uniform attention."""
    low: float
    """The least of all heads of the untrained networks."""
    high: float
    """The most."""


def meanings(
    behaviour: Behaviour,
    columns: Protocols,
    attention: AttentionControls,
    modulus: int | None,
    padded: int,
    probed: int,
) -> dict[str, str]:
    """Return a sentence or two for each number.

    Args:
        behaviour: Has the model learned the task.
        columns: The numbers.
        attention: What the mass of the heads on the operands has to be compared with.
        modulus: That of the rows, None for plain sums.
        padded: Rows of the position table that are shorter than the longest of them.
        probed: Rows of the position table.
    """
    variance = behaviour.answer_sd**2
    said = {"alpha": "The notebook's ridge penalty, fixed; not chosen on any rows."}
    said |= _of_sum_probes(columns, probed, padded) | _of_heads(columns, variance)
    said |= _of_sum(columns) if modulus is None else _of_residues(columns, modulus)
    said |= {
        key: _of_ridge(by_protocol(columns, key)) for key in columns.notebook_protocol if key.startswith("ridge_r2")
    }
    said |= {key: _of_mlp(key, columns) for key in columns.notebook_protocol if key.startswith("mlp_")}
    if "nonlinear_settings" in columns.notebook_protocol:
        said["nonlinear_settings"] = f"The MLP scores for each hidden x depth. {_STOPPED}: read the held-out column."
    said["per_head"] = _of_attention(columns, attention)
    if behaviour.verdict == "NOT LEARNED":
        said = {key: f"Model NOT LEARNED. {text}" for key, text in said.items()}
    return {key: said[key] for key in columns.notebook_protocol if key in said}


def _of_sum_probes(columns: Protocols, rows: int, padded: int) -> dict[str, str]:
    positions = range(len(columns.notebook_protocol["pos_r2"]))
    cells = [(position, by_protocol(columns, "pos_r2_masked", position)) for position in positions]
    found = [(position, one) for position, one in cells if one.held_out is not None]
    last = by_protocol(columns, "pos_r2", positions[-1])
    text = (
        f"{padded} of {rows} rows end in padding. Its state is one constant (PyTorch's fast path), and it is scored too"
    )
    masked = "Real tokens only; no value where fewer than 2 (D + 1) rows have the position"
    if found:
        at, best = max(found, key=lambda pair: pair[1].held_out or 0.0)
        masked += f". Best held out at position {at}: {_r2_of(best)}"
        end = by_protocol(columns, "pos_r2_masked", positions[-1])
        text += f"; at the last position {number(last.notebook)}, on real tokens only {number(end.notebook)}"
    return {
        "pooled_r2": f"x + y, read by ridge: {_r2_of(by_protocol(columns, 'pooled_r2'))}",
        "pos_r2": text + ".",
        "pos_r2_masked": masked if found else masked + ": no position.",
    }


def _of_heads(columns: Protocols, variance: float) -> dict[str, str]:
    before, after, delta = (
        by_protocol(columns, key) for key in ("ridge_head_mse_before", "ridge_head_mse_after", "delta_mse")
    )
    return {
        "ridge_head_mse_before": f"A ridge head fitted and scored on the same rows; {_error_of(before, variance)}",
        "ridge_head_mse_after": "The same head, refitted without the direction that reads x + y; "
        + _error_of(after, variance),
        "delta_mse": f"After minus before: {_cost_of(delta, before)} {_LAST_SITE}",
    }


def _of_sum(columns: Protocols) -> dict[str, str]:
    base, random = by_protocol(columns, "base_mse"), by_protocol(columns, "delta_mse_random_1d")
    excess = by_protocol(columns, "excess_delta_mse")
    return {
        "scalar_probe_r2": f"The pooled_r2 again: {_r2_of(by_protocol(columns, 'scalar_probe_r2'))}",
        "base_mse": "The head's MSE on all rows: for REG-SUM the probe of x + y is the head. "
        f"In-sample {number(base.notebook)}, held out {number(base.held_out)}.",
        "delta_mse_probe_1d": _cost_of(by_protocol(columns, "delta_mse_probe_1d"), base),
        "delta_mse_random_1d": f"One random direction costs {number(random.held_out)} held out: it is not matched for "
        "the variance it removes, so it is a weak control.",
        "excess_delta_mse": f"Probe minus random, {number(excess.held_out)} held out. {_REFIT}",
    }


def _of_residues(columns: Protocols, modulus: int) -> dict[str, str]:
    k, most = columns.notebook_protocol["k"], columns.notebook_protocol["Nmax"]
    first, last = (
        by_protocol(columns, "fourier_r2_curve", 0, "r2"),
        by_protocol(columns, "fourier_r2_curve", most - 1, "r2"),
    )
    text = _r2_of(last)
    if most > 1:
        text = f"at N = 1 {number(first.notebook)} (shuffled {number(first.null)}); at N = {most} {text}"
    agrees = "the modulus of the rows" if k == modulus else f"but the modulus of the rows is {modulus}"
    base = by_protocol(columns, "causal", "base_mse")
    costs = [by_protocol(columns, "causal", "excess_delta_mse_vs_dim", n, "excess_delta_mse") for n in range(most)]
    causal = (
        f"The subspace, read in standardised coordinates, is removed from raw states. Excess over a random subspace at "
        f"N = {most}: {_cost_of(costs[-1], base)} {_LAST_SITE}"
    )
    return {
        "k": f"Largest answer + 1: {k}, {agrees}.",
        "Nmax": "Frequencies of the curve: the least of 12 and D / 8.",
        "fourier_r2_curve": f"cos and sin of 2 pi n r / k, n = 1 to N: {text}",
        "smallk_r2": _of_small_periods(columns, modulus),
        "causal": causal,
    }


def _of_small_periods(columns: Protocols, modulus: int) -> str:
    records = columns.held_out["smallk_r2"]
    cells = [by_protocol(columns, "smallk_r2", at, "r2") for at in range(len(records))]
    spoiled = [at for at, record in enumerate(records) if "left_out" in record]
    text = ""
    if spoiled:
        top = max(spoiled, key=lambda at: cells[at].notebook or 0.0)
        text = (
            f"{number(cells[top].notebook)} at k' = {records[top]['kprime']}, N = {records[top]['N']}: of its "
            f"{records[top]['dim']} columns {records[top]['left_out']} are one value or rounding noise, and "
            f"scikit-learn scores a constant 1. Held out they are left out, in {len(spoiled)} scores. "
        )
    found = sorted({record["kprime"] for record, one in zip(records, cells, strict=True) if _decodable(one)})
    verdict = f"decodable: k' = {', '.join(map(str, found))}" if found else "no small period is decodable"
    divisors = [period for period in SMALL_PERIODS if modulus % period == 0]
    expected = f"k' = {', '.join(map(str, divisors))} divide" if divisors else "none of them divides"
    best = max((one.held_out for one in cells if one.held_out is not None), default=None)
    return f"{text}Best held out {number(best)}: {verdict}; {expected} {modulus}."


def _of_attention(columns: Protocols, controls: AttentionControls) -> str:
    own = [head["copy_score"] for line in columns.notebook_protocol["per_head"] for head in line]
    return (
        "Attention from the last token, averaged over rows. copy_score, on the digits of x and y: "
        f"{number(min(own))} to {number(max(own))} over {len(own)} heads; spread evenly over these prompts "
        f"{number(controls.uniform)}, heads of untrained networks {number(controls.low)} to {number(controls.high)} "
        "(the table has their mean by layer). It is not copying (that is in what a head writes), and balance_score is "
        "an imbalance. Attention is not effect: `arithprobe heads` ablates the heads."
    )


def _of_ridge(one: ByProtocol) -> str:
    return (
        f"The answer, read by ridge on standardised states: {number(one.notebook)} on the notebook's 20 % test part "
        f"(shuffled labels {_null_of(one)}), {number(one.held_out)} over five folds of sums. {_told(one)}"
    )


def _of_mlp(key: str, columns: Protocols) -> str:
    one = by_protocol(columns, key)
    if key.endswith("label_shuffle"):
        true = by_protocol(columns, key.replace("_label_shuffle", "_residue" if "cls" in key else ""))
        return (
            f"The control: training labels shuffled, {number(one.notebook)} against {number(true.notebook)} with the "
            "true ones. Early stopping still looks at the true test labels, and that lifts the score above 0; labels "
            f"permuted in both parts give {_null_of(true)}."
        )
    accuracy = "accuracy" in key
    verdict = _accuracy_told(one, columns, key) if accuracy else _told(one)
    if key.endswith("numeric_residue") and one.notebook is not None and one.notebook > (one.null_high or 0.0):
        verdict += (
            " An MLP can compute the rough size of a residue from that of the sum: the probe does that, not the model."
        )
    return (
        f"{_STOPPED}: {number(one.notebook)} (shuffled labels {_null_of(one)}). Stopped by one set of sums and scored "
        f"on another: {number(one.held_out)}; untrained network {number(one.twin_held_out)}. {verdict}"
    )


def _accuracy_told(one: ByProtocol, columns: Protocols, key: str) -> str:
    found = columns.held_out
    low, high = found[f"{key}_interval"]
    chance = found[f"{key}_chance"]
    interval = f"95 % interval {low:.3f} to {high:.3f}, the commonest residue alone {chance:.3f}"
    if low <= chance or one.notebook is None or one.null_high is None or one.notebook <= one.null_high:
        return f"Nothing is decodable: {interval}."
    return f"Decodable: {interval}."


def _r2_of(one: ByProtocol) -> str:
    return (
        f"in-sample {number(one.notebook)}; the same fit on shuffled labels gives {_null_of(one)}; "
        f"held out {number(one.held_out)}, untrained network {number(one.twin_held_out)}. {_told(one)}"
    )


def _told(one: ByProtocol) -> str:
    """The conclusion for a score of which more is better and 0 is nothing."""
    held_out, twin = one.held_out, one.twin_held_out
    if held_out is None or not _decodable(one):
        return "Nothing is decodable."
    if twin is None or twin <= 0:
        return "Decodable, and not without training."
    if twin >= held_out:
        return "Decodable, but as well or better without training, so it says nothing about what was learned."
    closed = (held_out - twin) / (1 - twin)
    return (
        f"Decodable, but the untrained network reaches {twin / held_out:.0%} of it; training explains {closed:.0%} of "
        "the rest."
    )


def _decodable(one: ByProtocol) -> bool:
    """More than nothing held out, and more than labels permuted give by the notebook's protocol."""
    if one.held_out is None or one.notebook is None or one.null_high is None:
        return False
    return one.held_out > 0 and one.notebook > one.null_high


def _error_of(one: ByProtocol, variance: float) -> str:
    share = "" if one.held_out is None else f", {one.held_out / variance - 1:+.1%} against the answers' variance"
    return (
        f"in-sample {number(one.notebook)}, held out {number(one.held_out)}{share}, {number(variance)}. "
        f"Shuffled labels {number(one.null)}, untrained network {number(one.twin)}."
    )


def _cost_of(one: ByProtocol, base: ByProtocol) -> str:
    """The conclusion for an increase of a refitted head's MSE; every MSE is compared with its own start."""
    in_sample, held_out = _ratio(one.notebook, base.notebook), _ratio(one.held_out, base.held_out)
    null, high = _ratio(one.null, base.null), _ratio(one.null_high, base.null)
    if in_sample is None or held_out is None or null is None or high is None:
        return _REFIT
    lost = held_out > _LEAST_COST and in_sample > high
    what = "another linear readout would lose by it" if lost else "another readout would lose nothing"
    return (
        f"{number(one.notebook)} in-sample ({in_sample:+.1%} of its MSE), {number(one.held_out)} held out "
        f"({held_out:+.1%}), shuffled labels {number(one.null)} ({null:+.1%}), untrained network {number(one.twin)}: "
        f"{what}. {_REFIT}"
    )


def _ratio(value: float | None, start: float | None) -> float | None:
    return None if value is None or not start else value / start


def _null_of(one: ByProtocol) -> str:
    return f"{number(one.null)} +- {number(one.null_sd)}"
