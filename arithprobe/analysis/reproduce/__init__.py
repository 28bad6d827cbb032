"""The original notebook's numbers, beside the honest ones."""

from typing import TYPE_CHECKING

from arithprobe.analysis.reproduce.options import ReproduceOptions
from arithprobe.analysis.study import Study

if TYPE_CHECKING:
    from arithprobe.analysis.progress import Progress
    from arithprobe.analysis.reproduce.run import Reproduction
    from arithprobe.models.checkpoints import LoadedModel
    from arithprobe.problems.rows import Rows


class ReproduceStudy(Study[ReproduceOptions, "Reproduction"]):
    """``arithprobe reproduce``."""

    name = "reproduce"
    summary = "the original notebook's numbers, beside the honest ones"
    description = (
        "The numbers that the original notebook prints, by its own protocol, for any checkpoint; beside each the value "
        "held out, on permuted labels and of untrained networks, and what it means."
    )
    options = ReproduceOptions
    records = ("reproduction",)

    def run(
        self, loaded: "LoadedModel", rows: "Rows", options: ReproduceOptions, progress: "Progress"
    ) -> "Reproduction":
        """The numbers."""
        from arithprobe.analysis.reproduce.run import reproduce

        return reproduce(loaded, rows, options, progress)
