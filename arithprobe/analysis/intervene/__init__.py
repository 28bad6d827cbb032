"""What the answers lose without what is decodable."""

from typing import TYPE_CHECKING

from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.study import Study

if TYPE_CHECKING:
    from arithprobe.analysis.intervene.run import InterventionReport
    from arithprobe.analysis.progress import Progress
    from arithprobe.models.checkpoints import LoadedModel
    from arithprobe.problems.rows import Rows


class InterveneStudy(Study[InterveneOptions, "InterventionReport"]):
    """``arithprobe intervene``."""

    name = "intervene"
    summary = "what a checkpoint loses when what is decodable is taken out of it"
    description = (
        "Take what a probe reads out of a checkpoint's forward pass, swap it between problems and move it, and score "
        "the model's own answers, beside random subspaces."
    )
    options = InterveneOptions
    pages, records = ("intervene",), ("ledger", "intervene")

    def run(
        self, loaded: "LoadedModel", rows: "Rows", options: InterveneOptions, progress: "Progress"
    ) -> "InterventionReport":
        """Take out, swap and move."""
        from arithprobe.analysis.intervene.run import intervene

        return intervene(loaded, rows, options, progress)
