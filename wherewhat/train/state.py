"""Everything a training changes: networks, their running averages, optimizers, and the clock of images seen."""

import copy
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from wherewhat.config import Config
from wherewhat.errors import UserError
from wherewhat.families import family_of
from wherewhat.families.family import Step, attach
from wherewhat.metrics.distance import Distance, load_distance
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import Generator
from wherewhat.nn.layers import channels_last
from wherewhat.run.folder import Run
from wherewhat.train.optimizers import Optimizer

AVERAGED = ("generator", "encoder")
"""networks of which an exponential moving average (EMA) is kept: what evaluation and pictures use"""


class State:
    """One training in memory.  `pack` and `restore` are each other's inverse, bit for bit."""

    def __init__(self, config: Config, fabric: Fabric) -> None:
        self.config, self.fabric, self.device = config, fabric, fabric.device
        self.family = family_of(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            built = self.family.build(config)
        self.networks: dict[str, nn.Module] = {n: channels_last(m).to(self.device) for n, m in built.items()}
        self.ema = {n: copy.deepcopy(self.networks[n]).eval().requires_grad_(False) for n in AVERAGED}
        attach(self.networks)
        attach(self.ema)
        self.phases = self.family.phases(config)
        self.optimizers = {
            phase.name: Optimizer([self.networks[name] for name in phase.trains], phase.optimizer or config.optimizer)
            for phase in self.phases
        }
        self.lpips: Distance | None = load_distance("alex", self.device) if self.family.wants_lpips(config) else None
        self.images_seen = 0
        self.seconds = 0.0
        self.lr_scale = 1.0  # of the learning rate: below 1 after a rollback

    @property
    def ema_generator(self) -> Generator:
        """The averaged generator."""
        return self.ema["generator"]  # type: ignore[return-value]

    @property
    def ema_encoder(self) -> Encoder:
        """The averaged encoder."""
        return self.ema["encoder"]  # type: ignore[return-value]

    def step(self, real: Tensor, part: int = 0, parts: int = 1) -> Step:
        """What the losses of a family may use for the step that comes next, or for one of several parts of it."""
        shard, shards = self.fabric.global_rank * parts + part, self.fabric.world_size * parts
        return Step(self.config, self.networks, real, self.images_seen, shard, shards, self.fabric.autocast, self.lpips)

    def update_ema(self) -> None:
        """Move the averages towards the weights; the half-life is shorter at the start (Karras et al. 2020)."""
        halflife = min(self.config.optimizer.ema_halflife, 0.05 * self.images_seen)
        keep = 0.5 ** (self.config.batch / max(halflife, 1e-8))
        for name, slow in self.ema.items():
            fast = self.networks[name]
            torch._foreach_lerp_(list(slow.parameters()), [p.detach() for p in fast.parameters()], 1 - keep)

    def _parts(self) -> dict[str, Any]:
        ema = {f"ema_{name}": module for name, module in self.ema.items()}
        return {**self.networks, **ema, **{f"optimizer_{name}": part for name, part in self.optimizers.items()}}

    def begin_from(self, run: Run) -> None:
        """Take over the averaged generator and encoder of another run.  Raises UserError if they do not fit."""
        for name in AVERAGED:
            weights = getattr(run, name).state_dict()
            try:
                self.networks[name].load_state_dict(weights)
                self.ema[name].load_state_dict(weights)
            except RuntimeError:
                raise UserError(
                    f"the {name} of {run.word} (recipe {run.config.recipe}) has other layers than that of recipe "
                    f"{self.config.recipe}: start from a run whose settings of generator and encoder are the same"
                ) from None

    def pack(self) -> dict[str, Any]:
        """Everything, as tensors and numbers."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {"images_seen": self.images_seen, "seconds": self.seconds, "lr_scale": self.lr_scale, **parts}

    def restore(self, packed: dict[str, Any]) -> None:
        """Become what was packed.  Raises KeyError or RuntimeError if it was packed by another configuration."""
        if "images" in packed:
            packed = from_format_1(packed, list(self.optimizers))
        for name, part in self._parts().items():
            part.load_state_dict(packed[name])
        self.images_seen, self.seconds = packed["images_seen"], packed["seconds"]
        self.lr_scale = packed.get("lr_scale", 1.0)


def from_format_1(packed: dict[str, Any], phases: list[str]) -> dict[str, Any]:
    """What a training of format 1 packed, under the names of today."""
    names = {
        "images": "images_seen", "recogniser": "encoder", "averaged_generator": "ema_generator",
        "averaged_recogniser": "ema_encoder", "optimiser": f"optimizer_{phases[-1]}",
        "discriminator_optimiser": "optimizer_discriminator",
    }  # fmt: skip
    found = {names.get(name, name): value for name, value in packed.items()}
    if "discriminator" in found:
        found["discriminator"] = {f"trunk.{name}": value for name, value in found["discriminator"].items()}
    return found
