"""``arithprobe reproduce``: the original notebook's numbers for a checkpoint, beside the honest ones."""

from collections.abc import Sequence

from arithprobe.analysis.reproduce_options import ReproduceOptions, require_task
from arithprobe.cli.options import (
    add_checkpoint_options,
    add_options,
    command_parser,
    model_of,
    options_from,
    output_file,
    parse,
    steps,
)
from arithprobe.files import to_json, write_whole


def run(words: Sequence[str] | None) -> None:
    """Compute, print, and write ``reproduction.json``.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    parser = command_parser(
        "reproduce",
        "The numbers that the original notebook prints, by its own protocol, for any checkpoint; beside each the value "
        "held out, on permuted labels and of untrained networks, and what it means.",
    )
    parser.add_argument("--task", type=str, help="REG-SUM or REG-MODK.")
    add_checkpoint_options(parser)
    parser.add_argument("--val", type=str, help="Rows of 'problem<TAB>answer'; the notebook's are its validation rows.")
    add_options(parser, ReproduceOptions)
    given = parse(parser, words, required=("task", "checkpoint", "val", "output_dir"))
    require_task(given.task)
    options, path = options_from(given, ReproduceOptions), output_file(given.output_dir, "reproduction.json")

    from arithprobe.analysis.notebook_rows import (
        require_notebook_rows,  # and what imports PyTorch: options need not wait for it
    )
    from arithprobe.analysis.reproduce import reproduce, step_count
    from arithprobe.cli.reproduction_table import print_reproduction
    from arithprobe.data.dataset import ArithmeticDataset

    dataset = ArithmeticDataset.from_tsv(given.val)
    loaded = model_of(given)
    require_notebook_rows(loaded, dataset, given.task, options)
    with steps(step_count(options)) as progress:
        found = reproduce(loaded, dataset, given.task, options, progress)
    write_whole(path, to_json({"checkpoint": loaded.path} | found.to_dict()) + "\n")
    print_reproduction(found, path)
