"""The head of a network, its last layer: found, parted from the rest; and freezing that really freezes."""

from __future__ import annotations

import torch
from torch import nn

from ignite_vision.errors import UserError, did_you_mean
from ignite_vision.models.state import tensors_and_extra


def find_head(network: nn.Module) -> tuple[str, nn.Module]:
    """(name, layer): the last Linear or convolution in order of registration."""
    found = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not found:
        raise UserError("the model has no Linear or Conv2d layer that could be its head")
    return found[-1]


def freeze(network: nn.Module, trainable: str) -> list[nn.Module]:
    """Let `trainable` and all that is registered after it train; freeze what is before.

    Returns the modules that must stay in eval mode during training (`keep_frozen`): BatchNorm would
    continue to average, Dropout and StochasticDepth to drop. A Dropout directly before the first layer that
    trains belongs to that layer and is not among them.
    """
    if trainable == "all":
        return []
    first = find_head(network)[0] if trainable == "head" else _first_child(network, trainable)
    modules = list(network.named_modules())
    start = next(i for i, (name, _) in enumerate(modules) if name == first)
    live = {id(p) for _, module in modules[start:] for p in module.parameters(recurse=False)}
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in live)
    dropout = dropout_before(network, first)
    below = [module for _, module in modules[:start] if module is not dropout]
    return [module for module in below if not any(id(p) in live for p in module.parameters())]


def dropout_before(network: nn.Module, name: str) -> nn.Module | None:
    """Return the Dropout that its parent registered directly before the child `name`, if there is one.

    A Dropout at the end of the block before, as in a transformer's, is that block's own.
    """
    parent, _, child = name.rpartition(".")
    before = None
    for sibling, module in network.get_submodule(parent).named_children():
        if sibling == child:
            break
        before = module
    return before if isinstance(before, nn.Dropout) else None


def _first_child(network: nn.Module, prefix: str) -> str:
    """Name of the first module whose name starts with `prefix`."""
    names = [name for name, _ in network.named_modules() if name]
    found = [name for name in names if name.startswith(prefix)]
    if not found:
        near = [name for name in names if name.count(".") < 2]
        hint = did_you_mean(prefix, near) or f"Use all, head, or one of {', '.join(near[:8])}."
        raise UserError(f"no part '{prefix}' in the model to train", next_step=hint)
    return found[0]


def keep_frozen(modules: list[nn.Module]) -> None:
    """Put frozen modules back into eval mode, as cheaply as can be: this runs in every iteration."""
    for module in modules:
        module.training = False


def state_that_changes(network: nn.Module, frozen: list[nn.Module]) -> dict[str, torch.Tensor]:
    """Return the network's tensors without what is frozen: parameters without gradient, buffers of `frozen` modules.

    The tensors are the network's own, not copies; a layer under two names is there under both. Extra state is left
    out: see `state.tensors_and_extra`.
    """
    still = {id(p) for p in network.parameters() if not p.requires_grad}
    still |= {id(b) for module in frozen for b in module.buffers()}
    names = dict(network.named_parameters(remove_duplicate=False)) | dict(network.named_buffers(remove_duplicate=False))
    tensors = tensors_and_extra(network.state_dict())[0]
    return {name: tensor for name, tensor in tensors.items() if id(names.get(name)) not in still}


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """(trainable, frozen) numbers of parameters."""
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for p in network.parameters()) - trainable


def not_linear(model: nn.Module) -> str | None:
    """Say why what follows a frozen network is no linear layer with a bias, alone; None if it is."""
    layers = [
        layer for layer in split_at_head(model)[1] if not isinstance(layer, nn.Dropout)
    ]  # which does nothing to a trained head
    head = find_head(model)[1]
    if not isinstance(head, nn.Linear):
        return f"the head is a {type(head).__name__}, not a Linear layer"
    if head.bias is None:
        return "the head has no bias"
    if len(layers) != 2:  # the head, and the Flatten of the part
        return f"a {type(layers[1]).__name__} follows the head"
    return None


def split_at_head(model: nn.Module) -> tuple[nn.Module, nn.Sequential]:
    """(first layer that is not cached, the part of the model from there on).

    The first is the Dropout directly before the head, if there is one: it draws again in each epoch. What follows
    the head in its Sequential belongs to the part. The layers are the model's own, not copies.
    """
    name, head = find_head(model)
    dropout = dropout_before(model, name)
    layers: list[nn.Module] = [head] if dropout is None else [dropout, head]
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(parent, nn.Sequential):
        siblings = list(parent)
        layers += siblings[siblings.index(head) + 1 :]
    return layers[0], nn.Sequential(*layers, nn.Flatten())
