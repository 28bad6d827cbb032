"""The original notebook's numbers, with held-out values and controls."""

from typing import TYPE_CHECKING

from arithprobe.analysis.reproduce.options import ReproduceOptions
from arithprobe.analysis.study import Study

if TYPE_CHECKING:
    from arithprobe.analysis.progress import Progress
    from arithprobe.analysis.reproduce.run import Reproduction
    from arithprobe.models.checkpoints import LoadedModel
    from arithprobe.problems.rows import Rows


class ReproduceStudy(Study[ReproduceOptions, "Reproduction"]):
    """The study behind ``arithprobe reproduce``."""

    name = "reproduce"
    summary = "the original notebook's tables, with held-out values and controls"
    description = (
        "Make the tables of the original notebook for any checkpoint, by the notebook's own protocol. Beside each "
        "number stand the held-out value, permuted labels and untrained networks, and what the number means."
    )
    options = ReproduceOptions
    records = ("reproduction",)

    def run(
        self, loaded: "LoadedModel", rows: "Rows", options: ReproduceOptions, progress: "Progress"
    ) -> "Reproduction":
        """Compute the numbers."""
        from arithprobe.analysis.reproduce.run import reproduce

        return reproduce(loaded, rows, options, progress)
