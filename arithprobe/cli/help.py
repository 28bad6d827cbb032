"""The help of ``fit``, ``validate``, ``test`` and ``predict``, without importing PyTorch.

``--help_all`` gives the complete list, with all of Lightning's options. The tests compare every option and default
named here with the parser's.
"""

from typing import NamedTuple


class _Part(NamedTuple):
    """Options that go together."""

    title: str
    lines: str


_RUN = """\
  --config FILE                   a YAML file, or the name of a shipped one: reg_sum; several add up, later ones win
  --name run                      name of the run: the folder under lightning_logs
  --seed_everything 0             seed of initialisation, data order and dropout
  --threads N                     threads that compute; yours (OMP_NUM_THREADS) or two if not given
"""
_PRINT = """\
  --print_config                  print all options as YAML, and stop
"""
_MODEL_TO_JUDGE = """\
  RUN                             a run folder (its best.ckpt) or a Lightning checkpoint; the data are those of the run
  --ckpt_path RUN                 the same; or last, best: of --name
  --model.weights FILE            in its place, a plain state_dict
"""
COMMANDS = ("fit", "validate", "test", "predict")
"""The commands with a Trainer."""
_FIT = (
    _Part(
        "run",
        _RUN
        + """\
  --ckpt_path RUN                 a run folder to go on from (its last.ckpt), or a checkpoint; or last: of --name
"""
        + _PRINT,
    ),
    _Part(
        "data",
        """\
  --data.train_file FILE          rows of 'problem<TAB>answer'; the recipe's file if not given
  --data.val_file FILE            the same, for validation
  --data.test_file FILE           the same, for test
  --data.batch_size 128           rows in a batch
  --data.recipe.task sum          sum or mod
  --data.recipe.modulus 97        the modulus of the mod task
  --data.recipe.rows 20000        rows of all parts together, where the recipe makes the files
  --data.recipe.split pair        what the parts must not share: pair (only counted), unordered_pair or sum
""",
    ),
    _Part(
        "model",
        """\
  --model.d_model 128             width of the residual stream
  --model.n_layers 2              layers
  --model.n_heads 4               attention heads
  --model.d_ff 256                width of the MLPs
  --model.dropout 0.1             dropout during training
  --model.max_len 512             longest prompt, in characters
  --model.norm post               LayerNorm after each residual sum, or pre: before each branch
  --model.positions absolute      position ids: the character's index, or place: a digit's place value
  --model.embedding_sd 1.0        standard deviation of the initial embeddings
  --model.objective ScaledMSE     what is predicted: ScaledMSE, CircularMSE or ResidueCrossEntropy
  --model.objective.scale 2000.0  of ScaledMSE, and .center; CircularMSE: .modulus, .frequencies; the third: .modulus
  --model.lr 0.002                learning rate of AdamW
  --model.weight_decay 0.01       weight decay of AdamW
  --model.betas [0.9,0.999]       averaging coefficients of AdamW
  --model.warmup_steps 0          steps in which the learning rate rises to lr
  --model.schedule constant       after the warm-up: constant, or cosine down to final_lr
  --model.final_lr 0.05           end of the cosine, as a share of lr
  --model.weights FILE            a plain state_dict to start from
""",
    ),
    _Part(
        "trainer",
        """\
  --trainer.max_epochs 10         passes over the training rows
  --trainer.callbacks RidgeProbing    probe at every validation; its options: --trainer.callbacks.targets [sum,x]
  --trainer.accelerator auto      cpu, gpu, ...
  --trainer.devices 1             how many
  --trainer.default_root_dir DIR  where lightning_logs is; the working folder if not given
  --trainer.fast_dev_run false    one batch of everything, nothing written
""",
    ),
    _Part(
        "checkpoints",
        """\
  --checkpoint.monitor val/loss   what best.ckpt is best in, such as ridge_sum/final@last/r2
  --checkpoint.mode min           min or max
""",
    ),
)
_ROWS = {
    "validate": """\
  --data.val_file FILE            rows of 'problem<TAB>answer' to judge on; the run's, or the recipe's, if not given
""",
    "test": """\
  --data.test_file FILE           rows kept for last; the run's, or the recipe's, if not given
  --data.recipe.test_fraction 0.0 share of the rows kept for test, where the recipe makes the files
""",
    "predict": """\
  --data.val_file FILE            rows whose problems it answers; the run's, or the recipe's, if not given
""",
}
_BATCH = """\
  --data.batch_size 128           rows in a batch
"""
_TRAINER = """\
  --trainer.callbacks RidgeProbing    probe too; its options: --trainer.callbacks.targets [sum,x]
"""
_DEVICE = """\
  --trainer.accelerator auto      cpu, gpu, ...
  --trainer.default_root_dir DIR  where lightning_logs is; the working folder if not given
"""
_EXAMPLES = {
    "fit": ("--config reg_sum", "--config reg_sum --model.d_model 256 --name wide"),
    "validate": (
        "lightning_logs/reg_sum/version_0",
        "lightning_logs/reg_sum/version_0 --config reg_sum    with the callbacks of the configuration",
    ),
    "test": ("lightning_logs/reg_sum_exact/version_0",),
    "predict": ("lightning_logs/reg_sum/version_0 --data.val_file mine.tsv",),
}
_WRITES = {
    "fit": "It writes a run folder, lightning_logs/NAME/version_N: checkpoints, verdicts, records and pictures.",
    "validate": "It prints the verdict first, then what the callbacks of the configuration read.",
    "test": "It prints the verdict on rows that were not used to choose anything.",
    "predict": "It writes predictions.tsv: each row with the prediction.",
}


def help_of(command: str, description: str) -> str:
    """Return the help of one command.

    Args:
        command: Name of the command.
        description: What the command does, a phrase.
    """
    usage = "[--config FILE] [OPTIONS]" if command == "fit" else "RUN [--config FILE] [OPTIONS]"
    parts = "\n".join(f"{one.title}:\n{one.lines}" for one in _parts_of(command))
    examples = "\n".join(f"  arithprobe {command} {words}" for words in _EXAMPLES[command])
    return (
        f"usage: arithprobe {command} {usage}\n\n{description[0].upper()}{description[1:]}.\n{_WRITES[command]}\n\n"
        f"examples:\n{examples}\n\n{parts}\nAll options, with those of Lightning: arithprobe {command} --help_all\n"
    )


def _parts_of(command: str) -> tuple[_Part, ...]:
    if command == "fit":
        return _FIT
    trainer = _DEVICE if command == "predict" else _TRAINER + _DEVICE
    return (
        _Part("model (required)", _MODEL_TO_JUDGE),
        _Part("data", _ROWS[command] + _BATCH),
        _Part("run", _RUN + _PRINT),
        _Part("trainer", trainer),
    )
