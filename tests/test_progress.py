"""How far an analysis is: lines on a terminal, and nothing unasked. The tutorial shows the bar of a notebook."""

import pytest

from arithprobe.analysis.progress import Progress


def two_steps(asked):
    progress = Progress.by_name(asked)
    progress.expect(2)
    progress("states")
    progress("<probes>")
    return progress


@pytest.mark.parametrize(
    ("asked", "said"), [(True, "step 1 of 2: states\nstep 2 of 2: <probes>\n"), (False, ""), (None, "")]
)
def test_a_terminal_is_told_when_it_asks(asked, said, capsys):
    assert two_steps(asked).done == 2
    assert capsys.readouterr() == ("", said)


def test_a_function_is_told_names_and_a_counter_is_the_callers():
    told = []
    two_steps(told.append)
    assert told == ["states", "<probes>"]
    own = Progress()
    assert two_steps(own) is own
