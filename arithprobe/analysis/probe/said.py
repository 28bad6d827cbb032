"""The findings of a probe report: each score beside its controls."""

from collections.abc import Iterator
from dataclasses import replace

from arithprobe.analysis.ladder import said as ladder
from arithprobe.analysis.probe.record import record_of
from arithprobe.analysis.probe.run import ProbeReport
from arithprobe.analysis.probe.said_circles import circle_blocks, plane_blocks, small_blocks
from arithprobe.analysis.probe.said_ridge import ridge_blocks
from arithprobe.plotting.compare import mlp_against_ridge, refitted_readout
from arithprobe.probes.mlp_scores import MLPScores
from arithprobe.said.content import Content, Picture, Said, Words
from arithprobe.said.numbers import interval, number


def said_of(report: ProbeReport) -> Said:
    """Return the findings, and how far the evidence reaches.

    Args:
        report: The results of the probes.
    """
    of = (report.checkpoint, report.data, report.behaviour)
    return Said(
        name="probe",
        title="What can be read, with controls",
        behaviour=report.behaviour,
        blocks=tuple(_blocks(report)),
        records={"probe": record_of(report)},
        shows="What linear, Fourier and MLP probes read from the hidden states on held-out groups, with controls: "
        "permuted labels, untrained networks and the text alone.",
        does_not_show="Whether the model uses what a probe reads. Ablation and steering test that, for circles too.",
        rank=60,
        checkpoint=report.checkpoint,
        weights=report.weights,
        also=(replace(ladder.said_of(*of, report.ladder, report.left_out), weights=report.weights),),
    )


def _blocks(report: ProbeReport) -> Iterator[Content]:
    site = report.refit.site
    yield Words(
        f"{report.checkpoint} on {report.rows} rows of {report.data}; skill is measured against the mean of "
        f"{report.constant_from}, {report.constant:.4g}"
    )
    yield from ridge_blocks(report, site)
    if report.circle is not None:
        yield from circle_blocks(report.circle, report.circle_twin, report.decoding, site, report.behaviour)
    if report.small:
        yield from small_blocks(report.small, site, report.behaviour)
    yield from _refit_blocks(report)
    if report.mlp:
        yield from _mlp_blocks(report, site)
    left_out = [f"left out: {reason}" for reason in report.left_out if not reason.startswith(ladder.LEFT_OUT)]
    for lines in (left_out, [f"cost: {cost}" for cost in report.costs]):
        if lines:
            yield Words("\n".join(lines))
    if report.planes:
        yield from plane_blocks(report.planes, report.behaviour)


def _refit_blocks(report: ProbeReport) -> Iterator[Content]:
    curve = report.refit
    random, count, added = sorted(curve.random_delta_mse[-1]), curve.dimension[-1], curve.delta_mse[-1]
    controls = f"{len(random)} random subspaces add {random[0]:.3g} to {random[-1]:.3g}"
    yield Words(
        f"refitted readout, {count} probe direction{'s' * (count > 1)} removed at {curve.site}@last: held-out MSE "
        f"{curve.base_mse:.4g} -> {curve.base_mse + added:.4g} (a constant: {curve.answer_variance:.4g}; {controls}). "
        "It measures what another readout could still use, not what the model uses."
    )
    if len(curve.dimension) == 1:
        return  # one number is no curve
    yield Picture(
        "refitted_readout",
        lambda: refitted_readout(curve, report.circle, report.behaviour),
        f"The held-out MSE rises by {added:.3g} when {count} probe direction{'s' * (count > 1)} "
        f"{'are' if count > 1 else 'is'} removed; {controls}.",
        "Refitted readout, by dimensions removed",
    )


def _mlp_blocks(report: ProbeReport, site: str) -> Iterator[Content]:
    read = []
    for one in report.mlp:
        yield Words(_mlp_line(one, site))
        row = one.sites.index(site)
        values = f"{number(float(one.score[row]))}, ridge {number(float(one.ridge[row]))}"
        read.append(f"{one.kind} of {one.target} {values}")
    yield Picture(
        "mlp_against_ridge",
        lambda: mlp_against_ridge(report.mlp, report.behaviour),
        f"Held-out scores of the MLP at {site}: {'; '.join(read)}.",
        "MLP and ridge probes by site",
    )


def _mlp_line(scores: MLPScores, site: str) -> str:
    row = scores.sites.index(site)
    names = ("score", "null_max", "ridge", "selectivity")
    found = {name: number(float(getattr(scores, name)[row])) for name in names}
    name = "R2" if scores.kind == "regression" else "accuracy"
    chance = f", chance {scores.chance:.3f}" if scores.kind == "classification" else ""
    return (
        f"MLP {scores.kind} of {scores.target!r} at {site}@last: held-out {name} {found['score']} "
        f"{interval(float(scores.low[row]), float(scores.high[row]))} "
        f"(largest shuffled {found['null_max']}, p {float(scores.p[row]):.2f}, ridge {found['ridge']}"
        f"{chance}; within the tolerance {float(scores.within[row]):.1%}; selectivity {found['selectivity']}; "
        f"{scores.n_test} rows)"
    )
