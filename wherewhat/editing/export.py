"""Generator and encoder as ONNX files, for programs without PyTorch.  b images, z codes, c channels, h w space."""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.errors import UserError
from wherewhat.nn.controls import to_polar
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import Generator
from wherewhat.run.folder import Run
from wherewhat.run.names import shown
from wherewhat.viz import canvas

OPSET = 18
BATCHES = (1, 2, 5)
"""sizes on which a file is compared with PyTorch; it is traced with another one"""
TOLERANCE = 1e-3
"""a larger difference is refused"""


class Exported(NamedTuple):
    """A file, and how far its outputs are from PyTorch's."""

    path: Path
    difference: float
    """largest absolute difference; images are in [−1, 1], masks in [0, 1]"""


class Drawing(nn.Module):
    """Codes → image in [−1, 1], masks in [0, 1] at its resolution."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, codes: Float[Tensor, "b z"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b z h w"]]:
        made = self.generator(codes)
        return made.image.clamp(-1, 1), made.masks_at(*self.generator.size)


class Reading(nn.Module):
    """Image in [−1, 1] → codes.  Controls by a product with the inverse: ONNX solves no linear equations."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        controls = encoder.controls
        self.polar_pairs = controls.polar_pairs if controls else ()
        z = encoder.latents
        mixing, mean = (np.array(controls.mixing), controls.mean) if controls else (np.eye(z), np.zeros(z))
        self.register_buffer("unmixing", torch.tensor(np.linalg.inv(mixing).T, dtype=torch.float32))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b z"]:
        latents = self.encoder.trunk(image)[:, : self.encoder.latents]
        return to_polar((latents - self.mean) @ self.unmixing, self.polar_pairs)


def export(run: Run, folder: Path) -> list[Exported]:
    """generator.onnx (codes → image, masks) and encoder.onnx (image → codes) for any batch, compared with PyTorch.
    Raises UserError if the packages for it are missing or the folder cannot be written."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f'{error.name} is missing: pip install "wherewhat[export]"') from None
    codes = torch.from_numpy(run.draw(sum(BATCHES), 0))
    with torch.no_grad():
        images = run.generator.cpu()(codes).image.clamp(-1, 1)
    about = describe(run)
    drawing, reading = Drawing(run.generator), Reading(run.encoder.cpu())
    return [
        write(folder / "generator.onnx", drawing, codes, "codes", ("image", "masks"), about),
        write(folder / "encoder.onnx", reading, images, "image", ("codes",), about),
    ]


def describe(run: Run) -> dict[str, str]:
    """What stands in the files about themselves."""
    return {
        "run": run.path.name,
        "images_seen": str(run.images_seen),
        "controls": json.dumps(list(shown(run).values()), ensure_ascii=False),
        "angles": json.dumps(list(run.generator.controls.angles if run.generator.controls else ())),
        "codes_range": "about -2 to 2; angles: -2 and 2 look the same",
        "image_range": "-1 to 1, channels first",
        "masks": "0 to 1, one a control, at the image's resolution",
    }


def write(
    path: Path, module: nn.Module, example: Float[Tensor, "b *rest"], input_name: str, outputs: Sequence[str],
    about: dict[str, str],
) -> Exported:  # fmt: skip
    """One file, whole or not at all."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # which operators of other packages it does not know
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            module.eval(), (example[:3],), dynamo=True, input_names=[input_name], output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},), opset_version=OPSET, verbose=False,
        )  # fmt: skip
    assert program is not None
    program.model.metadata_props.update(about)
    with canvas.written(path) as partial:
        program.save(partial)
        difference = compare(partial, module, example)
        if difference > TOLERANCE:
            raise UserError(f"{path.name} would differ from PyTorch by {difference:.1e}, so it was not written")
    return Exported(path, difference)


@torch.no_grad()
def compare(path: Path, module: nn.Module, example: Float[Tensor, "b *rest"]) -> float:
    """Largest absolute difference between the file under onnxruntime and PyTorch, over batches of several sizes."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for part in example.split(list(BATCHES)):
        theirs = session.run(None, {session.get_inputs()[0].name: part.numpy()})
        ours = module(part)
        for their, our in zip(theirs, ours if isinstance(ours, tuple) else (ours,), strict=True):
            worst = max(worst, float(np.abs(their - our.numpy()).max()))
    return worst
