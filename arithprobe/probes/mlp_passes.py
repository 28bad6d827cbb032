"""Forward and backward passes of M MLPs at once, written out: no autograd.

The last output is ``o = W_L relu(... relu(W_1 x + b_1)) + b_L``. Arrays are (M, units, B), units before rows, so that
the first layers of models that read one site are one product. Weights (M, out, in) and biases (M, out, 1) take turns in
a list.
"""

import torch
from torch import Tensor

Runs = list[tuple[int, int, int]]
"""``(site, from, to)``: neighbouring models that read one site."""


def runs_of(site: Tensor) -> Runs:
    """The runs of (M,) sorted sites."""
    sites, counts = torch.unique_consecutive(site, return_counts=True)
    ends = counts.cumsum(0)
    return list(zip(sites.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True))


def forward(weights: list[Tensor], x: Tensor, runs: Runs) -> list[Tensor]:
    """(M, units, B) outputs of every layer, the last one linear, for (S, B, D) rows.

    Units come before rows, so that the first layers of a run are one product.
    """
    hidden = weights[0].new_empty(*weights[0].shape[:2], x.shape[1])
    for site, start, end in runs:
        torch.mm(weights[0][start:end].flatten(0, 1), x[site].T, out=hidden[start:end].flatten(0, 1))
    outputs = [hidden.add_(weights[1])]
    for weight, bias in zip(weights[2::2], weights[3::2], strict=True):
        outputs.append(torch.bmm(weight, outputs[-1].relu_()).add_(bias))
    return outputs


def backward(
    weights: list[Tensor], gradients: list[Tensor], outputs: list[Tensor], x: Tensor, slope: Tensor, runs: Runs
) -> None:
    """Write the gradients, from the (M, units, B) slope of the loss with respect to the last output."""
    for layer in range(len(outputs) - 1, -1, -1):
        torch.sum(slope, dim=-1, keepdim=True, out=gradients[2 * layer + 1])
        if layer == 0:
            for site, start, end in runs:
                product = gradients[0][start:end].flatten(0, 1)
                torch.mm(slope[start:end].flatten(0, 1), x[site], out=product)
            return
        below = outputs[layer - 1]
        torch.bmm(slope, below.transpose(1, 2), out=gradients[2 * layer])
        weight = weights[2 * layer].transpose(1, 2)
        slope = weight * slope if slope.shape[1] == 1 else torch.bmm(weight, slope)
        slope = torch.ops.aten.threshold_backward(slope, below, 0)  # the slope of ReLU, from its output


def squared_slope(output: Tensor, labels: Tensor) -> Tensor:
    """Slope of the mean squared error of (M, 1, B) outputs from (M, B) labels."""
    return (output - labels[:, None]).mul_(2 / labels.shape[1])


def cross_entropy_slope(output: Tensor, labels: Tensor) -> Tensor:
    """Slope of the mean cross-entropy of (M, K, B) outputs with (M, B) classes."""
    slope = output.softmax(dim=1)
    slope.scatter_add_(1, labels[:, None], slope.new_full((), -1.0).expand(len(labels), 1, labels.shape[1]))
    return slope.div_(labels.shape[1])


def squared_errors(output: Tensor, labels: Tensor) -> Tensor:
    """(M,) mean squared errors."""
    return (output.squeeze(1) - labels).square().mean(dim=1)


def cross_entropies(output: Tensor, labels: Tensor) -> Tensor:
    """(M,) mean cross-entropies."""
    return torch.nn.functional.cross_entropy(output, labels, reduction="none").mean(dim=1)
