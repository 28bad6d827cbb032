"""``arithprobe probe``: what is decodable where in a checkpoint, against its nulls."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from arithprobe.analysis.probe_options import ProbeOptions
from arithprobe.cli.options import checkpoint_command, output_file, rows_and_model, steps
from arithprobe.cli.output import picture_folder, replace_pictures
from arithprobe.files import to_json, write_whole

if TYPE_CHECKING:
    from arithprobe.analysis.probe import ProbeReport

_PICTURES = r"ridge_(x|y|sum|residue)|fourier_\w+mod\d+|small_periods|refitted_readout|mlp_against_ridge"
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

    from arithprobe.analysis.ladder_record import ladder_record
    from arithprobe.analysis.probe import probe, step_count  # imports PyTorch, which the options need not wait for
    from arithprobe.analysis.probe_record import record_of
    from arithprobe.cli.probe_table import print_report

    dataset, loaded = rows_and_model(given)
    with steps(step_count(options)) as progress:
        report = probe(loaded, dataset, options, progress)
    pictures = _draw(report)
    drawn = replace_pictures(figures, _PICTURES, pictures)
    write_whole(path, to_json(record_of(report, options)) + "\n")
    evidence = ladder_record(report.checkpoint, report.data, report.behaviour, report.ladder)
    write_whole(ladder, to_json(evidence) + "\n")
    print_report(report, [path, ladder, *drawn])


def _draw(report: "ProbeReport") -> dict[str, bytes]:
    """Every figure there is something for, as PNG, by name."""
    from arithprobe.plotting.compare import mlp_against_ridge, refitted_readout
    from arithprobe.plotting.frequencies import frequency_spectrum, small_periods
    from arithprobe.plotting.heatmap import probe_heatmap
    from arithprobe.plotting.render import to_png, to_rgb
    from arithprobe.probes.circles import best_periods

    behaviour, circle = report.behaviour, report.circle
    figures = {
        f"ridge_{one.target}": probe_heatmap(one, behaviour, None) for one in report.ridge if one.target in _MAPPED
    }
    if circle is not None:
        figures[f"fourier_{circle.circle.name}"] = frequency_spectrum(circle, "final", behaviour, report.circle_twin)
    if report.small:
        figures["small_periods"] = small_periods(best_periods(report.small, "final"), "final", behaviour)
    figures["refitted_readout"] = refitted_readout(report.refit, circle, behaviour)
    if report.mlp:
        figures["mlp_against_ridge"] = mlp_against_ridge(report.mlp, behaviour)
    return {name: to_png(to_rgb(figure)) for name, figure in figures.items()}
