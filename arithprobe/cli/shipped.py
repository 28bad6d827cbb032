"""The configurations that come with the library: they are found by name, listed, and copied out for editing.

They are in ``configs/`` of the repository; a wheel holds a copy, made when it is built.
"""

import re
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # type: ignore[attr-defined]

from arithprobe.cli.options import command_parser, parse
from arithprobe.errors import ArithprobeError, did_you_mean, shown
from arithprobe.files import write_whole

_PACKAGE = Path(__file__).parents[1]
_DESCRIPTION = "List the shipped configurations, print one, or copy one out to edit it."
_LINES = re.compile(r"# ?(.*)")


def shipped() -> dict[str, Path]:
    """The files of the shipped configurations, by name."""
    folders = (_PACKAGE / "configs", _PACKAGE.parent / "configs")  # of a wheel, of a clone
    folder = next((one for one in folders if one.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def config_file(given: str, option: str = "--config") -> str:
    """Return the file of that path, also without its ``.yaml``; else the shipped configuration of that name.

    ``reg_sum``, ``reg_sum.yaml`` and ``configs/reg_sum.yaml`` name the same shipped configuration, in any folder.

    Args:
        given: A path or a name.
        option: The option that gave it, for the message.

    Raises:
        ArithprobeError: If there is neither; the text lists the shipped ones.
    """
    if not given.strip():
        raise ArithprobeError(f"{option} is empty; expected a YAML file, or one of {', '.join(shipped())}")
    path = Path(given)
    here = [one for one in (given, f"{given}.yaml") if Path(one).is_file()]
    if here:
        return here[0]
    if path.suffix in ("", ".yaml", ".yml") and str(path.parent) in (".", "configs"):
        known = shipped()
        if path.stem in known:
            return str(known[path.stem])
        what = "is a folder" if path.is_dir() else "there is no such file, and no shipped configuration of that name"
        raise ArithprobeError(f"{option} {given}: {what}{did_you_mean(path.stem, known)} (shipped: {', '.join(known)})")
    raise ArithprobeError(f"{option} {given}: {'is a folder' if path.is_dir() else 'there is no such file'}")


_LONGEST = 255  # characters of a file's name
_SECTIONS = ("trainer", "model", "data", "checkpoint")


class ConfigByName(ActionConfigFile):
    """The option ``--config``, which also takes the name of a shipped configuration; YAML itself stays as it is."""

    @staticmethod
    def apply_config(parser: ArgumentParser, cfg: Namespace, dest: str, value: str) -> None:
        """Find and read the file."""
        looks_so = re.search(r"[:{}\n]", re.sub(r"^[A-Za-z]:\\", "", value)) is not None
        is_yaml = looks_so and (len(value) > _LONGEST or not Path(value).is_file())
        file = value if is_yaml else config_file(value)
        options = {action.dest.partition(".")[0] for action in parser._actions}
        _require_options(value, file if is_yaml else Path(file), options)
        try:
            ActionConfigFile.apply_config(parser, cfg, dest, file)
        except ArgumentError as error:
            if "Problems parsing config" not in str(error):
                raise
            what = str(error).partition("Problems parsing config")[2].strip(": \n")
            raise ArithprobeError(f"--config {value}: is no YAML: {' '.join(what.split())}") from error


def _require_options(named: str, source: str | Path, options: set[str]) -> None:
    """Refuse YAML that holds no options; whatever else is wrong with it, the parser says."""
    try:
        content = yaml.safe_load(source if isinstance(source, str) else source.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return
    what = "--config" if isinstance(source, str) else f"--config {named}"
    if not isinstance(content, dict):
        held = "nothing" if content is None else shown(content)
        raise ArithprobeError(f"{what}: holds {held}; expected options, such as 'trainer: {{max_epochs: 5}}'")
    for other, name in (("sweep", "set"), ("fit", "trainer")):
        if name in content and name not in options:
            raise ArithprobeError(f"{what}: is a configuration of 'arithprobe {other}'; it sets {name!r}")
    for name in _SECTIONS:
        if not isinstance(content.get(name, {}), dict):
            raise ArithprobeError(f"{what}: {name} is {shown(content[name])}; expected the options of {name}")


def parser_of() -> ArgumentParser:
    """Return the parser of the options."""
    parser = command_parser("configs", _DESCRIPTION, "[NAME] [--copy FILE]")
    which = "Configuration to print or to copy. Without it all are listed."
    parser.add_argument("name", type=str, nargs="?", metavar="NAME", help=which)
    where = "File or folder to copy it to. A file that exists is not replaced."
    parser.add_argument("--copy", type=str, metavar="FILE", help=where)
    return parser


def run(words: Sequence[str] | None) -> None:
    """List the configurations, print one, or copy one.

    Raises:
        ArithprobeError: If there is no such configuration, or the file to write exists.
    """
    given, known = parse(parser_of(), words), shipped()
    if given.name is None:
        if given.copy is not None:
            raise ArithprobeError(f"--copy needs the name of a configuration (shipped: {', '.join(known)})")
        sys.stdout.write("\n".join(_listed(known)))
        return
    name = Path(given.name).stem
    if name not in known:
        raise ArithprobeError(
            f"no shipped configuration {given.name!r}{did_you_mean(name, known)} (shipped: {', '.join(known)})"
        )
    text = known[name].read_text(encoding="utf-8")
    if given.copy is None:
        sys.stdout.write(text)
        return
    target = Path(given.copy)
    target = target / known[name].name if target.is_dir() or given.copy.endswith(("/", "\\")) else target
    if target.exists():
        raise ArithprobeError(f"{target}: exists; name another file, or remove it first")
    write_whole(target, text)
    sys.stdout.write(f"{target}\nnext:  arithprobe {_command(name)} --config {target}\n")


def _listed(known: dict[str, Path]) -> list[str]:
    """Each with the comment at its head."""
    lines = []
    for name, path in known.items():
        head = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not (comment := _LINES.fullmatch(line)):
                break
            head.append(f"    {comment[1]}")
        lines += [name, *head, ""]
    lines += ["use one:   arithprobe fit --config reg_sum", "edit one:  arithprobe configs reg_sum --copy .", ""]
    return lines


def _command(name: str) -> str:
    """What takes it."""
    return "sweep" if name.startswith("scale_") else "fit"
