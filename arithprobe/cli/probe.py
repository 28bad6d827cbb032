"""``arithprobe probe``: what is decodable where in a checkpoint, against its nulls."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.cli.options import checkpoint_command, output_file, rows_and_model, steps
from arithprobe.cli.output import picture_folder, replace_pictures
from arithprobe.files import to_json, write_whole
from arithprobe.limits import size

if TYPE_CHECKING:
    from arithprobe.analysis.probe.run import ProbeReport
    from arithprobe.logic import State
    from arithprobe.plotting.render import Figure
    from arithprobe.plotting.spectrum import PlaneLosses

_PICTURES = (
    r"ridge_(x|y|sum|residue)|fourier_\w+mod\d+|frequencies_by_site|frequencies_left_out|small_periods|refitted_readout|"
    r"mlp_against_ridge|ladder"
)
_WORTH_SAYING = 1e9  # bytes
_MAPPED = ("x", "y", "sum", "residue")  # targets with a heatmap


def run(words: Sequence[str] | None) -> None:
    """Probe, print, write ``probe.json``, ``ladder.json`` and the figures.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    given, options = checkpoint_command(
        "probe",
        "Probe a checkpoint on the rows of a file: ridge, Fourier and MLP probes of every site, held out, beside "
        "permuted labels, untrained networks and the text alone.",
        ProbeOptions,
        words,
    )
    path = output_file(given.output_dir, "probe.json")
    ladder = output_file(given.output_dir, "ladder.json")
    figures = picture_folder(path.parent / "figures", _PICTURES)

    from arithprobe.analysis.ladder.record import ladder_record
    from arithprobe.analysis.probe.plan import memory_of
    from arithprobe.analysis.probe.record import record_of
    from arithprobe.analysis.probe.run import probe, step_count  # imports PyTorch, which the options need not wait for
    from arithprobe.cli.probe_table import print_report

    dataset, loaded = rows_and_model(given)
    needed = memory_of(dataset, options)
    if needed > _WORTH_SAYING:
        sys.stdout.write(f"memory:      about {size(needed)} for {len(dataset)} rows\n")
    with steps(step_count(options)) as progress:
        report = probe(loaded, dataset, options, progress)
    drawn = replace_pictures(figures, _PICTURES, _draw(report))
    write_whole(path, to_json(record_of(report, options)) + "\n")
    evidence = ladder_record(report.checkpoint, report.data, report.behaviour, report.ladder, report.left_out)
    write_whole(ladder, to_json(evidence) + "\n")
    print_report(report, [path, ladder, *drawn])


def _draw(report: "ProbeReport") -> "dict[str, Figure]":
    """Every figure there is something for, by name."""
    from arithprobe.analysis.ladder.rules import RUNGS
    from arithprobe.plotting.compare import mlp_against_ridge, refitted_readout
    from arithprobe.plotting.frequencies import frequency_spectrum, small_periods
    from arithprobe.plotting.heatmap import probe_heatmap
    from arithprobe.plotting.ladder import ladder_chart
    from arithprobe.plotting.spectrum import frequency_site_map, plane_losses
    from arithprobe.probes.circles import best_periods

    behaviour, circle = report.behaviour, report.circle
    figures = {
        f"ridge_{one.target}": probe_heatmap(one, behaviour, None) for one in report.ridge if one.target in _MAPPED
    }
    if circle is not None:
        figures[f"fourier_{circle.circle.name}"] = frequency_spectrum(circle, "final", behaviour, report.circle_twin)
        figures["frequencies_by_site"] = frequency_site_map(circle, behaviour)
    if any(one.key for one in report.planes):
        figures["frequencies_left_out"] = plane_losses(_losses(report), behaviour)
    if report.ladder:
        figures["ladder"] = ladder_chart(_lines(report), RUNGS[1:], behaviour)
    if report.small:
        figures["small_periods"] = small_periods(best_periods(report.small, "final"), "final", behaviour)
    figures["refitted_readout"] = refitted_readout(report.refit, circle, behaviour)
    if report.mlp:
        figures["mlp_against_ridge"] = mlp_against_ridge(report.mlp, behaviour)
    return figures


def _lines(report: "ProbeReport") -> list[tuple[str, list[tuple[str, "State", str]]]]:
    """The lines of the ladder's picture."""
    return [
        (
            f"{claim.variable} at {one.site}",
            [(evidence.rung, evidence.state, evidence.value) for evidence in one.evidence],
        )
        for claim in report.ladder
        for one in claim.sites
    ]


def _losses(report: "ProbeReport") -> "list[PlaneLosses]":
    """The sites at which a key frequency is found."""
    from arithprobe.plotting.spectrum import PlaneLosses

    found = []
    for one in report.planes:
        levels = {"intact": one.intact}
        if one.without_key is not None and one.only_key is not None:
            levels |= {"without all key planes": one.without_key, "with nothing but them": one.only_key}
            found.append(
                PlaneLosses(
                    one.site,
                    one.frequencies,
                    one.key,
                    tuple(answers.loss for answers in one.excluded),
                    tuple(answers.loss for answers in one.excluded_shuffled),
                    {name: answers.loss for name, answers in levels.items()},
                )
            )
    return found
