"""The help of ``fit``, ``validate``, ``test`` and ``predict`` that needs no import of PyTorch.

The complete list, with all of Lightning's options, is ``--help_all``. Every option and default named here is compared
with the parser's in the tests.
"""

_OPTIONS = """\
run:
  --config FILE                   a YAML file of options; several add up, later ones win
  --name run                      name of the run: the folder under lightning_logs
  --seed_everything 0             seed of initialisation, data order and dropout
  --threads N                     threads that compute; yours (OMP_NUM_THREADS) or two if not given
  --ckpt_path FILE                a Lightning checkpoint to go on from, or to judge
  --print_config                  print all options as YAML, and stop

data:
  --data.train_file FILE          rows of 'problem<TAB>answer'; the recipe's file by default
  --data.val_file FILE            the same, for validation
  --data.test_file FILE           the same, for test
  --data.batch_size 128           rows a batch
  --data.recipe.task sum          sum or mod
  --data.recipe.modulus 97        the modulus of the mod task
  --data.recipe.rows 20000        rows of all parts together, where the recipe makes the files
  --data.recipe.split pair        what the parts must not share: pair (only counted), unordered_pair or sum

model:
  --model.d_model 128             width of the residual stream
  --model.n_layers 2              layers
  --model.n_heads 4               attention heads
  --model.d_ff 256                width of the MLPs
  --model.dropout 0.1             dropout while training
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
  --model.schedule constant       what it does then: constant, or cosine down to final_lr
  --model.final_lr 0.05           its end, as a share of lr
  --model.weights FILE            a plain state_dict to start from or to judge

trainer:
  --trainer.max_epochs 10         passes over the training rows
  --trainer.callbacks RidgeProbing    probe at every validation; its options: --trainer.callbacks.targets [sum,x]
  --trainer.accelerator auto      cpu, gpu, ...
  --trainer.devices 1             how many
  --trainer.default_root_dir DIR  where lightning_logs stands; the working folder by default
  --trainer.fast_dev_run false    one batch of everything, nothing written

checkpoints:
  --checkpoint.monitor val/loss   what best.ckpt is best in, such as ridge_sum/final@last/r2
  --checkpoint.mode min           min or max
"""


def help_of(command: str, description: str) -> str:
    """The help of one command.

    Args:
        command: Its name.
        description: What it does, a phrase.
    """
    return (
        f"usage: arithprobe {command} [--config FILE] [OPTIONS]\n\n{description[0].upper()}{description[1:]}.\n\n"
        f"{_OPTIONS}\nAll options, Lightning's among them: arithprobe {command} --help_all\n"
    )
