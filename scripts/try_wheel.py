"""Install the wheel of a folder into a fresh environment, and use it in an empty folder, as a stranger would.

    python scripts/try_wheel.py dist        # make dist builds the wheel and the sdist first

Each command is printed with the end of what it says. The exit code is 1 where one of them fails, where a shipped
configuration is missing, or where the rows made there are not those of the repository.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "arithprobe --version",
    "arithprobe configs",
    "arithprobe configs reg_sum --copy mine.yaml",
    "arithprobe fit --config reg_sum --trainer.max_epochs 1 --trainer.enable_progress_bar false",
    "arithprobe fit --config mine.yaml --name mine --trainer.max_epochs 1 --trainer.enable_progress_bar false",
    "arithprobe report lightning_logs/reg_sum/version_0 lightning_logs/mine/version_0",
)


def main(folder: Path) -> int:
    """Install, and run every command.

    Args:
        folder: What ``python -m build`` made: one wheel of this version, and one source distribution.
    """
    built = sorted(folder.resolve().glob(f"arithprobe-{_version()}*"), key=lambda path: path.suffix)
    if [path.suffix for path in built] != [".gz", ".whl"]:
        sys.stderr.write(f"{folder}: expected one sdist and one wheel, found {[path.name for path in built]}\n")
        return 1
    with tempfile.TemporaryDirectory() as place:
        fresh, empty = Path(place, "fresh"), Path(place, "empty")
        venv.create(fresh, with_pip=True)
        empty.mkdir()
        constraints = ROOT / "constraints.txt"
        pip = [str(fresh / "bin" / "python"), "-m", "pip", "install", "--quiet", str(built[1]), "-c", str(constraints)]
        subprocess.run(pip, check=True, cwd=empty)
        missing = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
        for command in COMMANDS:
            done = _run(command, fresh, empty)
            if done.returncode:
                return 1
            if command == "arithprobe configs":
                missing -= set(done.stdout.split())
        other = [
            path.name
            for path in (empty / "data").iterdir()
            if path.read_bytes() != (ROOT / "data" / path.name).read_bytes()
        ]
        print("in the folder:", *sorted(path.name for path in empty.iterdir()))
        if missing:
            sys.stderr.write(f"not in the wheel: {', '.join(sorted(missing))}\n")
            return 1
        if other:
            sys.stderr.write(f"not the rows of the repository: {', '.join(other)}\n")
            return 1
    return 0


def _run(command: str, fresh: Path, empty: Path) -> subprocess.CompletedProcess[str]:
    """One command, from the empty folder, with nothing on the path that is the clone's."""
    words = command.split()
    words[0] = str(fresh / "bin" / words[0])
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(words, cwd=empty, env=environment, capture_output=True, text=True)
    print(f"$ {command}", *(done.stdout if not done.returncode else done.stderr).splitlines()[-4:], "", sep="\n")
    return done


def _version() -> str:
    text = (ROOT / "arithprobe" / "__init__.py").read_text(encoding="utf-8")
    return str(tomllib.loads(next(line for line in text.splitlines() if line.startswith("__version__")))["__version__"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist")))
