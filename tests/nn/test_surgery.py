"""Layers are replaced in all their places, with the very tensors that they had."""

import torch
from torch import nn

from harness.nn.surgery import convert_from_sync_bn, convert_to_ghost_bn


def net(norm):
    model = nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 4), norm)
    model.again, model.scale = norm, norm.weight
    norm.bias.requires_grad_(False)
    return model


def test_a_layer_that_a_model_holds_in_several_places_is_replaced_in_all():
    single = convert_from_sync_bn(net(nn.SyncBatchNorm(4)), (3,))
    ghost = convert_to_ghost_bn(net(nn.BatchNorm1d(4)), 2)
    for model, kind in ((single, "BatchNorm1d"), (ghost, "GhostBatchNorm")):
        assert model[1] is model[3] is model.again
        assert type(model[1]).__name__ == kind


def test_the_layer_in_its_place_has_the_very_tensors():
    model = net(nn.SyncBatchNorm(4))
    tensors = model[1].state_dict(keep_vars=True)
    single = convert_from_sync_bn(model, (3,))
    assert all(tensor is tensors[name] for name, tensor in single[1].state_dict(keep_vars=True).items())
    assert single.scale is single[1].weight
    assert [weight.requires_grad for weight in single[1].parameters()] == [True, False]
    assert torch.equal(single.eval()(torch.ones(2, 3)), model(torch.ones(2, 3)))
