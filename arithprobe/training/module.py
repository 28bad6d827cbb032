"""The LightningModule of this library's own network; configurations and flags name its flat arguments."""

from typing import Any

from arithprobe.errors import ArithprobeError
from arithprobe.models.blocks import Norm
from arithprobe.models.objective import Objective, require_objective
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.transformer import Positions, TinyTransformer
from arithprobe.models.weights import load_plain_weights
from arithprobe.tokenizer import VOCABULARY
from arithprobe.training.probed import ProbedModule
from arithprobe.training.probed import ValidationOutput as ValidationOutput
from arithprobe.training.schedule import Schedule, require_adamw, require_schedule


class ArithmeticModule(ProbedModule):
    """A :class:`TinyTransformer` trained with AdamW on an objective, the scaled squared error by default.

    It logs, judges and stores as :class:`~arithprobe.training.probed.ProbedModule` does.

    Args:
        d_model: Width D of the residual stream.
        n_layers: Number of layers.
        n_heads: Number of attention heads.
        d_ff: Width of the MLPs.
        dropout: Dropout while training.
        max_len: Positions in the position table.
        norm: ``post`` (the notebook's) puts a LayerNorm after each residual sum, ``pre`` before each branch.
        positions: ``absolute`` (the notebook's) numbers the characters; ``place`` gives each digit its place value.
        embedding_sd: Standard deviation of the initial token and position embeddings.
        objective: What is predicted: ``ScaledMSE`` (the default, scale 2000), ``CircularMSE``, ``ResidueCrossEntropy``.
        lr: Learning rate of AdamW.
        weight_decay: Its weight decay.
        betas: Its averaging coefficients.
        warmup_steps: Steps in which the learning rate rises linearly to ``lr``.
        schedule: What it does then: ``constant``, or ``cosine``, down to ``final_lr`` at the last step of the fit.
        final_lr: The learning rate at the end of ``cosine``, as a share of ``lr``.
        weights: A plain ``state_dict`` file to start from, such as the original project's checkpoints.

    Raises:
        ArithprobeError: If an option is out of range, or ``weights`` do not fit.
    """

    model: TinyTransformer

    def __init__(
        self,
        d_model: int = 128,
        n_layers: int = 2,
        n_heads: int = 4,
        d_ff: int = 256,
        dropout: float = 0.1,
        max_len: int = 512,
        norm: Norm = "post",
        positions: Positions = "absolute",
        embedding_sd: float = 1.0,
        objective: Objective | None = None,
        lr: float = 2e-3,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup_steps: int = 0,
        schedule: Schedule = "constant",
        final_lr: float = 0.05,
        weights: str | None = None,
    ) -> None:
        require_adamw(lr, weight_decay, betas)
        require_schedule(schedule, warmup_steps, final_lr)
        chosen = ScaledMSE() if objective is None else objective
        require_objective(chosen)
        network = TinyTransformer(
            d_model, n_layers, n_heads, d_ff, dropout, max_len, chosen.n_outputs, norm, positions, embedding_sd
        )
        if weights is not None:
            load_plain_weights(network, weights)
        super().__init__(network, chosen, lr, weight_decay, betas, warmup_steps, schedule, final_lr, weights)
        self.save_hyperparameters(ignore=["objective", "weights"])
        self.save_hyperparameters(self.objective.as_hyperparameter)

    def check_data(self, modulus: int | None, longest: int) -> None:
        """Refuse answers that the objective cannot express, and prompts longer than the position table.

        Args:
            modulus: The modulus of the data, None for plain sums.
            longest: Characters of the longest prompt.

        Raises:
            ArithprobeError: If they do not fit; it names what the model has and what the data is.
        """
        self.objective.require_task(modulus)
        if longest > self.model.max_len:
            raise ArithprobeError(
                f"the longest prompt has {longest} tokens, the position table holds {self.model.max_len}; "
                f"pass --model.max_len {longest} or more"
            )

    def origin(self) -> dict[str, Any]:
        """The facts that a checkpoint must agree on: how outputs become answers, and which characters the ids are."""
        return super().origin() | {"vocabulary": VOCABULARY}
