"""What interventions and heads say: one wording each, why something cannot be told, and tidy numbers."""

from dataclasses import replace

import pytest
import torch
from made_up_results import FAILED, LEARNED, NAN, change, curve, effect, family, patched, row, swap, unlearned
from rich.console import Console

from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.intervene.run import InterventionReport
from arithprobe.cli.terminal import print_said
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.heads import HeadAblation
from arithprobe.interventions.words import cost_beside, costliest, costliest_words, lost_words, p_in_short, p_words
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS
from arithprobe.said.content import Table, Words

UNTOLD = replace(FAILED, reason=f"{CANNOT_BE_TOLD}: too few rows (4)")
WHY = "there is nothing to take out"


def eraser_of(one):
    target, kind = one.subspace.split(":")
    return Eraser(target, kind, one.site, (one.position,), torch.ones(1, 2, 1), torch.ones(1, 2, 1), torch.ones(1, 2))


def report(*rows, behaviour=LEARNED, **fields):
    usual = {
        "checkpoint": "model.ckpt",
        "weights": "abc",
        "options": InterveneOptions(),
        "data": "rows.tsv",
        "fit_rows": 300,
        "rows": 200,
        "behaviour": behaviour,
        "ledger": rows,
        "notebook": None,
        "patching": None,
        "variables": (),
        "symmetry": (),
        "erasers": tuple(map(eraser_of, rows)),
        "left_out": (),
        "costs": ("embed@last: 0.1 s",),
        "fidelity": None,
    }
    return InterventionReport(**usual | fields)


def ledger_of(found):
    return next(block for block in found.said.blocks if isinstance(block, Table))


def findings(found):
    return {picture.name: picture.finding for picture in found.said.pictures}


def words_in(found):
    return "\n".join(block.text for block in found.said.blocks if isinstance(block, Words))


def heads(costs, kind="mean"):
    values = torch.tensor(costs, dtype=torch.float64)
    none = torch.zeros(len(values), 0, dtype=torch.float64)
    full = {name: values for name in HeadAblation.__dataclass_fields__ if name not in ("kind", "n")}
    return HeadAblation(**full | {"kind": kind, "n": 20, "random": none, "random_removed": none})


def test_a_p_stands_with_what_is_displaced_or_with_why_it_cannot_be_told():
    """As in the table of the page; descriptions have none."""
    null = replace(family("permuted"), removed=torch.tensor([0.5, 2.0], dtype=torch.float64))
    untold = replace(family("matched", note=WHY, p=NAN), percentile=NAN)
    shown = "p 0.05 against permuted (displacing 12 % to 50 %)"
    assert p_words(effect(families=(family("isotropic"), untold, null))) == (
        f"displacing 25 %: {shown}, p against matched cannot be told: {WHY}"
    )
    assert p_words(effect(families=(family("isotropic"), null))) == f"displacing 25 %: {shown}"  # the control
    alone = p_words(effect(families=(family("isotropic"),)))
    assert alone == "p cannot be told: there is no fit on permuted labels to compare with"
    assert cost_beside(effect(), null) == "permuted below +1.9 (displacing 12 % to 50 %)"
    assert cost_beside(effect(), untold) == f"matched cannot be told: {WHY}"
    assert p_in_short(effect(), untold) == "no change (25-25 %)"


def test_the_null_that_is_compared_with_first_has_a_p():
    matched, permuted = family("matched"), family("permuted")
    assert effect(families=(permuted, matched)).null is matched
    assert effect(families=(permuted, replace(matched, p=NAN))).null is permuted
    assert effect(families=(family("isotropic"), replace(permuted, p=NAN))).null is None


def test_a_model_of_which_it_cannot_be_told_is_not_one_that_has_not_learned():
    """The control is one that has not, and one that has."""
    assert (LEARNED.state, FAILED.state, UNTOLD.state) == (HOLDS, FAILS, CANNOT_BE_TOLD)
    assert lost_words(0.5, HOLDS) == "50% of the skill" and lost_words(-0.001, HOLDS) == "0% of the skill"
    for behaviour, why in (
        (FAILED, "there is no skill to lose"),
        (UNTOLD, "whether there is skill to lose is not known"),
    ):
        found = report(unlearned(row()), behaviour=behaviour)
        assert findings(found)["decodable_against_used"] == f"Share of the skill lost cannot be told: {why}."
        assert f"-: cannot be told: {why}; " in " ".join(ledger_of(found).notes)
    known = report(row())
    assert "50% of the skill" in findings(known)["decodable_against_used"]
    assert not any("skill to lose" in note for note in ledger_of(known).notes)


def test_findings_speak_of_rows_after_which_more_than_the_readout_comes():
    rows = [row("embed", lost=0.1, rmse=9.0), row("resid_mid.1", lost=0.4, rmse=3.0), row("final", lost=2.0, near=True)]
    said = findings(report(*rows, symmetry=(change(d=1), change(d=2, distance=3.0))))
    assert said["decodable_against_used"].startswith("Most is lost at resid_mid.1@last without sum (sum:probe): 40%")
    assert "most at embed@last without sum (sum:probe): +9, displacing 25 %: p " in said["ablation_against_random"]
    assert (
        said["symmetry"] == "Under x + d, y - d the answers move by at most 3 (d = 2); unrelated problems are 40 apart."
    )
    nothing = "Only the readout follows each site that was ablated. Choose an earlier site too."
    assert nothing not in words_in(report(*rows)) and nothing in words_in(report(rows[-1]))
    assert "Most is lost at final@last" in findings(report(rows[-1]))["decodable_against_used"]


def test_a_run_beside_descriptions_only_explains_no_p():
    """The control: with fits on permuted labels it does, and no word of those that displace as much."""
    blind = replace(family("isotropic", note="a description: blind"), percentile=NAN)
    found = report(row(families=(blind,)))
    assert "p" not in [column.name for column in ledger_of(found).columns]
    assert not any(note.startswith("p:") or "behind each p" in note for note in ledger_of(found).notes)
    assert "no p of sum:probe against isotropic draws: a description: blind" in words_in(found)
    assert "p cannot be told" in words_in(found)
    (note,) = (one for one in ledger_of(report(row(families=(family("permuted"),)))).notes if one.startswith("p:"))
    assert note == "p: against the same fit on permuted labels; *: p <= 0.05."


def test_gaps_are_told_and_no_number():
    site_names = [("embed", "x", swap(NAN)), ("final", "x", swap(0.5, random=0))]
    found = report(
        replace(row(rmse=NAN, lost=NAN), steering=curve(response=NAN)),
        patching=patched(((NAN, NAN),)),
        variables=tuple(site_names),
        symmetry=(change(distance=NAN),),
    )
    said = findings(found)
    assert "cannot be told" in said["ablation_against_random"] and "cannot be told" in said["patching"]
    assert "cannot be told" in said["steering"] and "No change" in said["symmetry"]
    assert said["interchange"].endswith("x swapped at final: 50%, random subspaces at most -.")
    assert "nan" not in " ".join(
        [
            *said.values(),
            words_in(found),
            *(cell for block in found.said.blocks if isinstance(block, Table) for line in block.rows for cell in line),
        ]
    )


@pytest.mark.parametrize("width", [80, 100, 130, 200])
def test_every_cell_is_whole_on_a_terminal_of_any_width(width, capsys):
    """Columns are left out from the right; what is read, lost and the p stay."""
    name = ("resid_post.0", "x100+x10", "residue:leace")
    rows = [row(*name[:2], name[2], rmse=-1234.5, lost=12.0, families=(family("permuted"), family("matched")))]
    print_said(report(*rows).said, Console(width=width, soft_wrap=True))
    lines = capsys.readouterr().out.splitlines()
    heading, line = (next(one.split() for one in lines if one.startswith(word)) for word in (" where", " resid"))
    assert {"resid_post.0@x100+x10", "residue:leace", "-1234", "1200%", "0.050*"} < set(line)
    for shown in ("where", "subspace", "R2", "mean", "lost", "p"):
        assert shown in heading
    assert ("MLP" in heading) == (width >= 130)


def test_scores_are_tidy_and_those_of_the_ledger():
    one = replace(row(), steering=curve(), interchange=swap())
    found = list(report(one, patching=patched(), variables=(("embed", "x", swap()),), symmetry=(change(),)).scores())
    by_name = {(score.site, score.position, score.target, score.score): score for score in found}
    assert len(by_name) == len(found)  # no two rows of one name
    cost = by_name["embed", "last", "sum:probe", "mean_delta_rmse"]
    assert (cost.value, cost.low, cost.high, cost.n) == (10.0, 8.0, 12.0, 100)
    assert cost.null_high == pytest.approx(1.9)  # 95 % of the draws from 0 to 2
    assert by_name["embed", "last", "sum:probe", "held_out_r2"].value == 0.5
    assert by_name["embed", "last", "sum:probe", "steering_slope"].value == 0.5
    assert by_name["embed", "all", "x", "interchange"].value == 0.8
    assert by_name["embed", "x10", "whole state", "patched"].n == 5
    assert by_name["", "", "x + d, y - d, d = 1", "distance"].value == 2.0


def test_erasers_are_files_of_what_was_said():
    rows = [row(), row("final", "all", "residue:leace")]
    assert list(report(*rows).said.files) == ["erasers/embed@last.sum.probe.pt", "erasers/final@all.residue.leace.pt"]


def test_the_costliest_head_knows_gaps():
    assert costliest(heads([[NAN, 2.0], [5.0, NAN]])) == (1, 0, 5.0)
    assert costliest_words(heads([[NAN, 2.0], [5.0, NAN]])) == ("mean ablation costs most for head L1H0: RMSE +5")
    assert costliest_words(heads([[-3.0, NAN]])) == "no head costs anything under mean ablation"
    assert costliest(heads([[NAN]])) is None
    assert costliest_words(heads([[NAN]])) == "the cost of mean ablation of a head cannot be told: it is not a number"
