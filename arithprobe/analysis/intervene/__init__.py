"""Causal ablation of probe directions, patching, interchange and steering."""

from typing import TYPE_CHECKING

from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.study import Study

if TYPE_CHECKING:
    from arithprobe.analysis.intervene.run import InterventionReport
    from arithprobe.analysis.progress import Progress
    from arithprobe.models.checkpoints import LoadedModel
    from arithprobe.problems.rows import Rows


class InterveneStudy(Study[InterveneOptions, "InterventionReport"]):
    """The study behind ``arithprobe intervene``."""

    name = "intervene"
    summary = "causal ablation of probe directions, patching, interchange and steering"
    description = (
        "Ablate what a probe reads in the model's own forward pass, swap it between problems, and steer it. Scores are "
        "those of the model's own answers, with control subspaces."
    )
    options = InterveneOptions
    pages, records = ("intervene",), ("ledger", "intervene")
    folders = ("erasers",)

    def run(
        self, loaded: "LoadedModel", rows: "Rows", options: InterveneOptions, progress: "Progress"
    ) -> "InterventionReport":
        """Ablate, swap and steer."""
        from arithprobe.analysis.intervene.run import intervene

        return intervene(loaded, rows, options, progress)
