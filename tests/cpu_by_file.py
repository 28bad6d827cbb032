"""``pytest --cpu``: the CPU seconds of test files and tests, processes and fixtures included, the dearest first.

Wall time on a shared machine says who else was there; CPU time says what a test costs.
"""

import os
from collections import Counter

import pytest

_KEY = "cpu_seconds"
_FILES, _TESTS = 40, 20  # that are listed


class CpuByFile:
    """Counts them; in a worker of xdist they travel with the reports of its tests."""

    def __init__(self):
        self.seconds, self.tests, self.longest, self.workers = Counter(), Counter(), Counter(), []
        self._since = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self):
        self._since = _spent()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        """Of set-up, call and teardown, each in a report of its own."""
        report = yield
        now = _spent()
        report.user_properties = [*report.user_properties, (_KEY, now - self._since)]
        self._since = now
        return report

    def pytest_runtest_logreport(self, report):
        spent = dict(report.user_properties).get(_KEY, 0.0)
        file = report.nodeid.split("::")[0]
        self.seconds[file] += spent
        self.longest[report.nodeid] += spent
        self.tests[file] += report.when == "call"

    def pytest_sessionfinish(self, session):
        """What a worker of xdist has spent, its imports and collection included, is told at its end."""
        if hasattr(session.config, "workerinput"):
            session.config.workeroutput[_KEY] = _spent()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.workers.append(getattr(node, "workeroutput", {}).get(_KEY, 0.0))

    def pytest_terminal_summary(self, terminalreporter, config):
        if hasattr(config, "workerinput"):
            return
        times = os.times()  # those of the children are of the workers, where there are some
        whole = times.user + times.system + sum(self.workers) if self.workers else _spent()
        inside = sum(self.seconds.values())
        write = terminalreporter.write_line
        terminalreporter.section("CPU seconds")
        write(f"{whole:8.1f}  all, of which {whole - inside:.1f} to import and collect")
        for name, spent in self.seconds.most_common(_FILES):
            write(f"{spent:8.1f}  {name} ({self.tests[name]} tests)")
        write(f"the {_TESTS} dearest tests, with what they set up for others:")
        for name, spent in self.longest.most_common(_TESTS):
            write(f"{spent:8.1f}  {name}")


def _spent():
    """CPU seconds of this process and of all that it has started and seen the end of."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
