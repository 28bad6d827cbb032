"""Analysis of attention heads: what they attend to, and what they do."""

from typing import TYPE_CHECKING

from arithprobe.analysis.heads.options import HeadOptions
from arithprobe.analysis.study import Study

if TYPE_CHECKING:
    from arithprobe.analysis.heads.run import HeadReport
    from arithprobe.analysis.progress import Progress
    from arithprobe.models.checkpoints import LoadedModel
    from arithprobe.problems.rows import Rows


class HeadsStudy(Study[HeadOptions, "HeadReport"]):
    """The study behind ``arithprobe heads``."""

    name = "heads"
    summary = "what each attention head attends to, and what the model loses without it"
    description = (
        "Show what each attention head attends to, with uniform attention and untrained networks as controls, and what "
        "the model's own answers lose when the head is ablated."
    )
    options = HeadOptions
    pages, records = ("heads",), ("head_stats",)

    def run(self, loaded: "LoadedModel", rows: "Rows", options: HeadOptions, progress: "Progress") -> "HeadReport":
        """Read, ablate and patch the heads."""
        from arithprobe.analysis.heads.run import analyse_heads

        return analyse_heads(loaded, rows, options, progress)
