"""Where a run comes from: configuration, versions, hashes, and the commands that make it again."""

import shlex
from pathlib import Path
from typing import Any

from arithprobe.analysis.provenance import code_hash, file_record, versions
from arithprobe.files import sha256_of
from arithprobe.reports.blocks import Block, Source, table
from arithprobe.reports.run import Run
from arithprobe.said.content import Words


def origin(run: Run) -> list[Block]:
    """What it takes to make the run again, and to tell it from another."""
    known = run.provenance or {}
    blocks: list[Block] = []
    if not known:
        blocks.append(
            Words(
                "The run did not keep its versions and hashes (no provenance.json). Those below are from the time when "
                "this page was made."
            )
        )
    blocks += [
        Source("Run it again", _again(run)),
        Source("Make this page again", shlex.join(["arithprobe", "report", str(run.folder)])),
        table("Hashes (SHA-256)", ("what", "where", "hash"), _hashes(run, known)),
        table("Versions and machine", ("what", "the run", "this page"), _versions(known)),
    ]
    if "split" in known:
        split = known["split"]
        blocks.append(
            Words(
                f"The run has {split['train_rows']} training rows and {split['val_rows']} validation rows. "
                f"{split['shared_pairs']} validation rows share their operands with a training row, and "
                f"{split['shared_sums']} share their sum with one."
            )
        )
    if run.config_text is not None:
        blocks.append(Source("Configuration", run.config_text, folded=True))
    return blocks


def _again(run: Run) -> str:
    known = run.provenance or {}
    if (run.folder / "config.yaml").is_file():
        stage = "fit" if "last" in run.judged else next(iter(run.judged))
        command = shlex.join(["arithprobe", stage, "--config", str(run.folder / "config.yaml")])
        given = known.get("command")
        begun = "" if given is None else f"# as it was started: {shlex.join(['arithprobe', *given])}\n"
        return f"{begun}{command}"
    own = f"ProbedModule around the {run.network}, a RowsDataModule"
    module = own if run.is_foreign else "ArithmeticModule"
    return f"# started from Python: construct {module} and Trainer with the options below, then fit"


def _hashes(run: Run, known: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    data = known.get("data") or {"val": file_record(run.data_file)}
    for part, one in data.items():
        count = f" ({one['rows']} rows)" if "rows" in one else ""
        rows.append((f"{part} rows{count}", one["path"], one["sha256"] or "no file: rows in memory, or gone"))
        if known.get("folder") == str(Path.cwd()) or Path(one["path"]).is_absolute():
            now = file_record(one["path"])["sha256"] if known else one["sha256"]
            if now != one["sha256"]:
                rows.append((f"{part} rows now, CHANGED since the fit", one["path"], now or "no file"))
    if "split" in known:
        rows.append(("split: operands of both parts, in order", "", known["split"]["sha256"]))
    if run.checkpoint is not None:
        rows.append(("checkpoint", str(run.checkpoint), sha256_of(run.checkpoint)))
    if known.get("initial") is not None:
        initial = known["initial"]
        rows.append(("initial weights", initial["file"] or f"seed {initial['seed']}", initial["weights"]))
    return [*rows, ("code of arithprobe", "the run" if known else "this page", known.get("code") or code_hash())]


def _versions(known: dict[str, Any]) -> list[tuple[str, str, str]]:
    then, now = known.get("versions", {}), versions()
    rows = [(name, str(then.get(name, "not kept")), now[name]) for name in now]
    more = ("started", "device", "processes", "threads", "parameters", "continued_from")
    return [*rows, *((name.replace("_", " "), str(known[name]), "") for name in more if known.get(name) is not None)]
