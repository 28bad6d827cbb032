"""The folder of a sweep knows which sweep it is of, and how far each trial is."""

import pytest

from arithprobe.errors import ArithprobeError
from arithprobe.sweeps.folder import SweepFolder, TrialFolder, TrialProgress, rows_of
from arithprobe.sweeps.grid import trials_of

DIGESTS = {"a": "1", "b": "2"}


@pytest.fixture
def folder(tmp_path):
    made = SweepFolder(tmp_path / "sweep")
    made.check(DIGESTS, extend=False)
    made.write(DIGESTS, {"name": "sweep"})
    return made


def test_the_same_sweep_goes_on_and_another_is_refused(folder):
    folder.check(DIGESTS, extend=False)
    folder.check(dict(reversed(DIGESTS.items())), extend=False)  # the order is no matter
    for digests, extend, message in [
        ({"a": "1", "b": "3"}, False, "trial b has other settings or rows"),
        ({"a": "1", "b": "3"}, True, "trial b has other settings or rows"),
        ({"a": "1"}, False, "it has trial b, this grid has not"),
        ({"a": "1"}, True, "it has trial b, this grid has not"),
        ({"a": "1", "b": "2", "c": "3"}, False, "it has no trial c, this grid has; .* pass --extend"),
    ]:
        with pytest.raises(ArithprobeError, match=message):
            folder.check(digests, extend=extend)
    folder.check({"a": "1", "b": "2", "c": "3"}, extend=True)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ArithprobeError, match=r"is no folder of a sweep, and holds thesis\.tex"):
        SweepFolder(tmp_path).check(DIGESTS, extend=True)


def test_one_sweep_at_a_time(folder):
    with folder.hold(), pytest.raises(ArithprobeError, match="another sweep is running in this folder"):
        folder.hold()
    folder.hold().release()  # control: free again


def test_progress_is_what_was_said_last(tmp_path):
    trial = TrialFolder(tmp_path / "trial")
    assert trial.progress() == TrialProgress("waiting")
    trial.say("training", epoch=2, epochs=10, share=0.2, skill=None)
    assert trial.progress() == TrialProgress("training", 2, 10, 0.2)
    trial.progress_file.write_text('{"state": "trai')
    assert trial.progress() == TrialProgress("waiting")


def test_a_result_counts_for_the_options_it_was_measured_with(tmp_path):
    trial = TrialFolder(tmp_path / "trial")
    options = {"twins": 3, "frequencies": (1, 3)}
    assert trial.result(options) is None
    trial.finish({"skill": 0.5, "verdict": "PARTLY LEARNED", "r2": float("nan")}, options, 1.0)
    assert trial.result(options) == {"skill": 0.5, "verdict": "PARTLY LEARNED", "r2": None}
    assert trial.result(options | {"twins": 4}) is None
    assert trial.progress().state == "done"


def test_a_trial_that_was_begun_keeps_its_configuration(tmp_path):
    trial = TrialFolder(tmp_path / "trial")
    trial.start("lr: 1\n")
    trial.start("lr: 2\n")  # nothing was begun
    assert (trial.path / "config.yaml").read_text() == "lr: 2\n"
    trial.checkpoints.mkdir()
    trial.start("lr: 2\n")
    with pytest.raises(ArithprobeError, match=r"config\.yaml: is not what the trial was begun with"):
        trial.start("lr: 1\n")


@pytest.mark.parametrize("content", ["{}", '{"trials": []}', '{"trials": {}}', "garbage"])
def test_a_record_that_says_nothing_is_no_sweep(folder, content):
    (folder.path / "sweep.json").write_text(content)
    with pytest.raises(ArithprobeError, match="is no folder of a sweep"):
        folder.check(DIGESTS, extend=True)


def test_versions_count_on(tmp_path):
    trial = TrialFolder(tmp_path)
    assert trial.next_version() == "version_0"
    for name in ("version_0", "version_10", "version_x"):
        (tmp_path / name).mkdir()
    assert trial.next_version() == "version_11"


def test_the_table_has_a_row_for_each_finished_trial_in_the_grids_order(folder):
    trials = trials_of({"model.d_model": [8, 16, 32]}, {}, {})
    for trial in (trials[2], trials[0]):
        folder.trial(trial).finish({"skill": trial.parameters["model.d_model"]}, {}, 1.0)
    assert rows_of(folder, trials, {}) == [
        {"trial": "d_model8", "model.d_model": 8, "skill": 8},
        {"trial": "d_model32", "model.d_model": 32, "skill": 32},
    ]
