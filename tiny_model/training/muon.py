"""Muon (https://kellerjordan.github.io/posts/muon/) for small matrices on CPUs, in float32.

torch.optim.Muon orthogonalises in bfloat16, one matrix at a time, which takes seconds a step on CPUs without bfloat16
units. Here matrices of one shape go through the Newton-Schulz iteration together. Not for embeddings, biases, norms
or convolutions.
"""

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(stack: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Approximately the nearest semi-orthogonal matrices to a stack (count, rows, columns) with rows ≤ columns.

    In the precision of `stack`.
    """
    a, b, c = COEFFICIENTS
    x = stack / (stack.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised per matrix; weight decay is decoupled. All parameters must be matrices."""

    def __init__(
        self, params, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.01, precision=torch.float32
    ):
        self.precision = precision  # of the orthogonalisation
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple, list] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for shape, parameters in by_shape.items():
                self._update(group, shape, parameters)

    def _update(self, group: dict, shape: tuple[int, int], parameters: list) -> None:
        """The same for parameters of one shape."""
        is_wide = shape[0] <= shape[1]
        updates = [self._momentum(p, group["momentum"]) for p in parameters]
        stacked = orthogonalised(torch.stack([u if is_wide else u.T for u in updates]).to(self.precision))
        scale = group["lr"] * max(1, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(parameters, stacked, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_((update if is_wide else update.T).to(parameter.dtype), alpha=-scale)

    def _momentum(self, parameter: torch.Tensor, momentum: float) -> torch.Tensor:
        """The gradient, averaged over the last steps."""
        state = self.state[parameter]
        average = state.setdefault("average", torch.zeros_like(parameter))
        average.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(average, momentum)  # Nesterov
