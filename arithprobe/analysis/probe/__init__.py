"""Linear, Fourier and MLP probes at every site, with controls."""

from typing import TYPE_CHECKING

from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.study import Study
from arithprobe.limits import size

if TYPE_CHECKING:
    from arithprobe.analysis.probe.run import ProbeReport
    from arithprobe.analysis.progress import Progress
    from arithprobe.models.checkpoints import LoadedModel
    from arithprobe.problems.rows import Rows

_WORTH_SAYING = 1e9  # bytes


class ProbeStudy(Study[ProbeOptions, "ProbeReport"]):
    """The study behind ``arithprobe probe``."""

    name = "probe"
    summary = "linear, Fourier and MLP probes at every site, with controls; the ladder of evidence"
    description = (
        "Probe a checkpoint with ridge, Fourier and MLP probes at every site. Scores are held out, with controls: "
        "permuted labels, untrained networks and the text alone. The ladder of evidence follows."
    )
    options = ProbeOptions
    pages = records = ("probe", "ladder")

    def run(self, loaded: "LoadedModel", rows: "Rows", options: ProbeOptions, progress: "Progress") -> "ProbeReport":
        """Fit all probes with their controls, and climb the ladder of evidence."""
        from arithprobe.analysis.probe.run import probe

        return probe(loaded, rows, options, progress)

    def warned(self, rows: "Rows", options: ProbeOptions) -> str:
        """The warning about the memory that many rows take."""
        from arithprobe.analysis.probe.plan import memory_of

        needed = memory_of(rows, options)
        return f"memory:      about {size(needed)} for {len(rows)} rows" if needed > _WORTH_SAYING else ""
