"""Puts the shipped configurations into the wheel. All other metadata is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies ``configs/*.yaml``, of which the repository has one copy, to ``arithprobe/configs``."""

    def run(self) -> None:
        """Copy them, unless the clone itself is installed."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "arithprobe", "configs")
            self.mkpath(str(target))
            for path in sorted(Path("configs").glob("*.yaml")):
                self.copy_file(str(path), str(target / path.name))


setup(cmdclass={"build_py": BuildWithConfigs})
