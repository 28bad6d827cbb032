r"""Many small MLP probes trained at once.

M independent ReLU networks are one stack of weights: a step is a few batched products for all of them, instead of M
forward and backward passes through a framework. Models that read the same site share its rows, so their first layers
are one product, :math:`(m H \times D)(D \times B)`. The backward pass is written out (no autograd), so it works inside
Lightning's validation, and every model's weights depend only on its own site and labels:

* initial weights and biases are :math:`U(-1/\sqrt{d}, 1/\sqrt{d})` for d inputs (as in ``torch.nn.Linear``), drawn
  layer by layer, weights first, from ``torch.Generator().manual_seed(seed)``; all models start alike;
* the order of rows is one ``torch.randperm`` an epoch from ``manual_seed(seed + 1)``, the same for all models;
* AdamW, on the mean squared error of standardised labels or the mean cross-entropy; early stopping model by model.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from arithprobe.errors import ArithprobeError
from arithprobe.limits import require_within
from arithprobe.probes.mlp_passes import (
    backward,
    cross_entropies,
    cross_entropy_slope,
    forward,
    runs_of,
    squared_errors,
    squared_slope,
)

_BETAS, _EPS = (0.9, 0.999), 1e-8  # those of torch.optim.AdamW
_ROWS = 512  # rows predicted at once
_CONSTANT = 1e-6  # a state that varies less than this, relative to its mean, is a constant in float32


@dataclass(frozen=True)
class MLPSettings:
    """The shape of an MLP probe, and how it is trained.

    Raises:
        ArithprobeError: If a setting is out of range.
    """

    hidden: int = 128
    """Units H of a hidden layer."""
    depth: int = 1
    """Hidden layers."""
    lr: float = 1e-3
    """Learning rate of AdamW."""
    weight_decay: float = 1e-4
    """Its weight decay."""
    batch_size: int = 128
    """Rows a step; the last step of an epoch takes what is left."""
    max_epochs: int = 200
    """Epochs at most."""
    patience: int = 20
    """A model stops after this many epochs without a new best loss on the stop rows."""
    seed: int = 0
    """Seed of initial weights and of the order of rows."""

    def __post_init__(self) -> None:
        for name in ("hidden", "depth", "batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise ArithprobeError(f"MLP probe: {name} is {getattr(self, name)}; expected 1 or more")
        names = ("hidden", "depth", "batch_size", "max_epochs", "patience", "lr", "seed")
        require_within("MLP probe: ", **{name: getattr(self, name) for name in names})
        if not 0 < self.lr < float("inf") or not 0 <= self.weight_decay < float("inf") or self.seed < 0:
            raise ArithprobeError(
                f"MLP probe: lr is {self.lr}, weight_decay {self.weight_decay}, seed {self.seed}; "
                "expected lr > 0, weight_decay >= 0, seed >= 0"
            )


@dataclass(frozen=True)
class MLPEnsemble:
    """An ensemble of M trained probes of states at S sites."""

    site: Tensor
    """(M,) int64 site each model reads."""
    weights: tuple[Tensor, ...]
    """Weights (M, out, in) and biases (M, out, 1) in turn, from the first layer to the output."""
    state_mean: Tensor
    """(S, 1, D) float64 mean of the training rows."""
    state_scale: Tensor
    """(S, 1, D) float64 standard deviation of the training rows, 1 where there is none."""
    label_mean: Tensor
    """(M, 1) float64 mean training label; 0 for classes."""
    label_scale: Tensor
    """(M, 1) float64 standard deviation of the training labels; 1 for classes."""
    n_classes: int | None
    """Number of classes; None for regression."""
    epochs: Tensor
    """(M,) int64 epoch whose weights a model keeps; 0 if its loss was never a number."""

    def predict(self, states: Tensor) -> Tensor:
        """The (M, N) float64 predictions in label units, or (M, N) int64 classes, for (S, N, D) states."""
        with torch.inference_mode(False), torch.no_grad():
            order = torch.argsort(self.site, stable=True)
            weights, runs = [w[order] for w in self.weights], runs_of(self.site[order])
            parts = []
            for rows in torch.split(states.to(self.state_mean.device), _ROWS, dim=1):
                output = forward(weights, _standardise(rows, self.state_mean, self.state_scale), runs)[-1]
                parts.append(output.double().squeeze(1) if self.n_classes is None else output.argmax(dim=1))
            predictions = torch.cat(parts, dim=1)[torch.argsort(order)]
            return predictions * self.label_scale + self.label_mean if self.n_classes is None else predictions


def fit_ensemble(
    states: Tensor,
    site: Tensor,
    labels: Tensor,
    n_classes: int | None,
    train: Tensor,
    stop: Tensor,
    settings: MLPSettings,
) -> MLPEnsemble:
    """Train M probes at once, on the device of the states.

    Args:
        states: (S, N, D) states of N rows at S sites; standardised with the training rows, site by site.
        site: (M,) int64 site each model reads.
        labels: (M, N) labels: float64 for regression, int64 in 0..n_classes - 1 for classes.
        n_classes: Number of classes; None for regression.
        train: (N,) bool rows to train on.
        stop: (N,) bool rows that decide when a model stops. Rows in neither part are not used.
        settings: Shape and training.

    Raises:
        ArithprobeError: If a part is empty or the parts overlap.
    """
    if not bool(train.any()) or not bool(stop.any()) or bool((train & stop).any()):
        raise ArithprobeError("MLP probe: expected training rows and stop rows, and no row in both")
    with torch.inference_mode(False), torch.no_grad():
        device = states.device
        site, labels, train, stop = (tensor.to(device) for tensor in (site, labels, train, stop))
        mean, scale = mean_and_scale(states[:, train])
        label_mean, label_scale = _label_units(labels[:, train], n_classes)
        order = torch.argsort(site, stable=True)
        y = labels if n_classes is not None else ((labels - label_mean) / label_scale).float()
        stack = _Stack(site[order], states.shape[-1], n_classes, settings)
        x_train, x_stop = (_standardise(states[:, part], mean, scale) for part in (train, stop))
        stack.train(x_train, y[:, train][order], x_stop, y[:, stop][order])
        back = torch.argsort(order)
        best = tuple(weight[back] for weight in stack.best)
        return MLPEnsemble(site, best, mean, scale, label_mean, label_scale, n_classes, stack.epochs[back])


def mean_and_scale(states: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation over rows, which standardise states.

    Args:
        states: (S, n, D) training rows.

    Returns:
        (S, 1, D) float64 means, and standard deviations, 1 where a state is constant (as float32 can tell).
    """
    states = states.double()
    mean, scale = states.mean(dim=1, keepdim=True), states.std(dim=1, keepdim=True, correction=0)
    return mean, torch.where(scale > _CONSTANT * mean.abs(), scale, 1.0)


class _Stack:
    """Models in training, sorted by site; those that have stopped leave the stack."""

    def __init__(self, site: Tensor, d_model: int, n_classes: int | None, settings: MLPSettings) -> None:
        self.settings, self.site, self.n_classes = settings, site, n_classes
        start = _initial_weights(d_model, n_classes or 1, settings)
        self.best = [weight.to(site.device).repeat(len(site), 1, 1) for weight in start]
        self.best_loss = torch.full((len(site),), torch.inf, device=site.device)
        self.epochs = torch.zeros(len(site), dtype=torch.int64, device=site.device)
        self.index = torch.arange(len(site), device=site.device)  # of the models still in the stack
        self.runs = runs_of(site)
        self.weights, self.gradients = ([torch.clone(weight) for weight in self.best] for _ in range(2))
        self.first, self.second = ([torch.zeros_like(weight) for weight in self.best] for _ in range(2))
        self.steps = [torch.zeros((), device=site.device) for _ in start]

    def train(self, x: Tensor, y: Tensor, x_stop: Tensor, y_stop: Tensor) -> None:
        """Train on (S, n, D) rows and (M, n) labels until every model has stopped."""
        generator = torch.Generator().manual_seed(self.settings.seed + 1)
        size, loss_of = self.settings.batch_size, squared_errors if self.n_classes is None else cross_entropies
        for epoch in range(1, self.settings.max_epochs + 1):
            order = torch.randperm(x.shape[1], generator=generator).to(x.device)
            for x_batch, y_batch in zip(
                torch.split(x[:, order], size, 1), torch.split(y[:, order], size, 1), strict=True
            ):
                self._step(x_batch, y_batch)
            loss = loss_of(forward(self.weights, x_stop, self.runs)[-1], y_stop)
            better = loss < self.best_loss[self.index]
            won = self.index[better]
            self.best_loss[won], self.epochs[won] = loss[better], epoch
            for best, weight in zip(self.best, self.weights, strict=True):
                best[won] = weight[better]
            alive = epoch - self.epochs[self.index] < self.settings.patience
            if not bool(alive.any()):
                return
            if not bool(alive.all()):
                y, y_stop = y[alive], y_stop[alive]
                self._keep(alive)

    def _step(self, x: Tensor, y: Tensor) -> None:
        activations = forward(self.weights, x, self.runs)
        slope = squared_slope if self.n_classes is None else cross_entropy_slope
        backward(self.weights, self.gradients, activations, x, slope(activations[-1], y), self.runs)
        adamw(
            self.weights,
            self.gradients,
            self.first,
            self.second,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=self.settings.lr,
            weight_decay=self.settings.weight_decay,
            eps=_EPS,
            maximize=False,
        )

    def _keep(self, alive: Tensor) -> None:
        self.index, self.site = self.index[alive], self.site[alive]
        self.runs = runs_of(self.site)
        for name in ("weights", "gradients", "first", "second"):
            setattr(self, name, [tensor[alive] for tensor in getattr(self, name)])


def _initial_weights(d_model: int, n_outputs: int, settings: MLPSettings) -> list[Tensor]:
    generator = torch.Generator().manual_seed(settings.seed)
    widths = [d_model, *[settings.hidden] * settings.depth, n_outputs]
    weights = []
    for inputs, outputs in itertools.pairwise(widths):
        for columns in (inputs, 1):
            weights.append((2 * torch.rand(1, outputs, columns, generator=generator) - 1) / inputs**0.5)
    return weights


def _standardise(states: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return ((states.double() - mean) / scale).float()


def _label_units(labels: Tensor, n_classes: int | None) -> tuple[Tensor, Tensor]:
    if n_classes is not None:
        shape = (len(labels), 1)
        return labels.new_zeros(shape, dtype=torch.float64), labels.new_ones(shape, dtype=torch.float64)
    scale = labels.std(dim=1, keepdim=True, correction=0)
    return labels.mean(dim=1, keepdim=True), torch.where(scale > 0, scale, 1.0)
