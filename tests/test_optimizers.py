"""Muon: what its updates are, which parameters it updates, and that its state can be restored."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from wherewhat.config import OptimizerConfig
from wherewhat.train.optimizers import Muon, Optimizer, is_matrix, orthogonalize

MUON = OptimizerConfig(lr=0.01, kind="muon")


@pytest.mark.parametrize("shape", [(64, 576), (576, 64), (256, 300), (32, 32)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    values = torch.linalg.svdvals(orthogonalize(matrix))
    largest = torch.linalg.svdvals(matrix)
    assert (largest[0] / largest[-1]) > 1.5  # it had something to do
    assert values.median() > 0.7 and values.max() < 1.3


def test_directions_are_kept() -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(40, 60), full_matrices=False)
    spread = u @ torch.diag(torch.linspace(0.3, 3, 40)) @ v
    turned = torch.nn.functional.cosine_similarity(orthogonalize(spread).flatten(), (u @ v).flatten(), 0)
    assert turned > 0.95


def small() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 16, 5))


def test_every_parameter_is_updated_by_exactly_one_optimizer() -> None:
    network = small()
    optimizer = Optimizer([network], MUON)
    moved = [p for part in optimizer.parts for group in part.param_groups for p in group["params"]]
    assert sorted(map(id, moved)) == sorted(map(id, network.parameters()))
    by_muon = [p for part in optimizer.parts if isinstance(part, Muon) for p in part.param_groups[0]["params"]]
    assert [id(p) for p in by_muon] == [id(p) for p in network.parameters() if is_matrix(p)]
    assert {id(network[0].weight), id(network[1].weight)} == set(map(id, by_muon))
    assert len(Optimizer([network], replace(MUON, kind="adam")).parts) == 1


def descend(network: nn.Sequential, optimizer: Optimizer, steps: int) -> float:
    torch.manual_seed(2)
    images, target = torch.randn(8, 3, 8, 8), torch.randn(8, 5)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (network(images) - target).square().mean()
        loss.backward()
        optimizer.step(0.01)
    return loss.item()


def test_a_loss_falls_and_a_copy_goes_on_alike() -> None:
    network, twin = small(), small()
    optimizer, other = Optimizer([network], MUON), Optimizer([twin], MUON)
    first, later = descend(network, optimizer, 1), descend(network, optimizer, 30)
    assert later < first / 10
    twin.load_state_dict(network.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    descend(network, optimizer, 3)
    descend(twin, other, 3)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))


def test_the_small_demo_of_the_tests_has_matrices_for_muon() -> None:
    from conftest import small as small_recipe

    from wherewhat.families.family import build_encoder

    encoder = build_encoder(small_recipe("demo"), variational=True)
    assert any(is_matrix(p) for p in encoder.parameters())
