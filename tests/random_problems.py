"""Random problems of one token each, as a data set holds them."""

import torch

from arithprobe.problems.quantities import Sums


class RandomProblems:
    """N of them; x, y and modulus may be put right afterwards, and all else follows."""

    path, roles = "random problems", (("query",),)

    def __init__(self, n, modulus, seed=0, step=1):
        generator = torch.Generator().manual_seed(seed)
        self.x, self.y = (step * torch.randint(0, 100 // step, (n,), generator=generator) for _ in range(2))
        self.modulus = modulus
        self.lengths, self.layout = torch.ones(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)
        self.ids = torch.ones(n, 1, dtype=torch.uint8)

    @property
    def circle(self):
        return self.modulus

    def __getattr__(self, name):
        if name in ("x", "y", "modulus"):
            raise AttributeError(name)
        return getattr(Sums(self.x, self.y, self.modulus), name)
