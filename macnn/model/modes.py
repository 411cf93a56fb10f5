"""The mode of a model, for a while or until further notice."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from macnn.defaults import BatchNorm


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is evaluated; then each of its modules is in its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def train_mode(model: nn.Module, batch_norm: BatchNorm) -> None:
    """Let a model train; with "eval" batch norms keep their statistics and go by them."""
    model.train()
    if batch_norm == "eval":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
