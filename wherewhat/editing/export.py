"""Generator and encoder as ONNX files, for programs without PyTorch.  b images, z codes, c channels, h w space."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.atomic import explained, write_with
from wherewhat.errors import UserError
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import Generator
from wherewhat.nn.transform_encoder import TransformEncoder
from wherewhat.run.folder import Run
from wherewhat.run.names import shown

OPSET = 18
BATCHES = (1, 2, 5)  # sizes of batches on which a file is compared with PyTorch; it is traced with another
TOLERANCE = 1e-3  # a file that differs by more is not written


class Exported(NamedTuple):  # a file, and how much its outputs differ from PyTorch's
    path: Path
    difference: float  # largest absolute difference; images are in [−1, 1], masks in [0, 1]


class CodesToImage(nn.Module):
    """Codes → image in [−1, 1], masks in [0, 1] at the resolution of the image."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, codes: Float[Tensor, "b z"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b z h w"]]:
        output = self.generator(codes)
        return output.image.clamp(-1, 1), output.masks_at(*self.generator.size)


class ImageToCodes(nn.Module):
    """Image in [−1, 1] → codes, by the inverse of the mixing matrix: ONNX does not solve linear equations."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        controls = encoder.controls
        self.controls, z = controls, encoder.latents
        mixing, mean = (np.array(controls.mixing), controls.mean) if controls else (np.eye(z), np.zeros(z))
        self.register_buffer("unmixing", torch.tensor(np.linalg.inv(mixing).T, dtype=torch.float32))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b z"]:
        latents = self.encoder.trunk(image)[:, : self.encoder.latents]
        components = (latents - self.mean) @ self.unmixing
        return self.controls.from_components(components) if self.controls else components


def export(run: Run, folder: Path) -> list[Exported]:
    """Write generator.onnx (codes → image, masks) and encoder.onnx (image → codes), for batches of any size.  Raises
    UserError if a package is missing, if the encoder searches turns, if a file differs from PyTorch by more than
    TOLERANCE or cannot be written."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(f'{error.name} is missing: pip install "wherewhat[export]"') from None
    if isinstance(run.encoder, TransformEncoder):
        raise UserError(f"{run.word} reads images by trying turns of the generator, which ONNX files do not hold yet")
    codes = torch.from_numpy(run.draw(sum(BATCHES), 0))
    with torch.no_grad():
        images = run.generator.cpu()(codes).image.clamp(-1, 1)
    about, to_image, to_codes = describe(run), CodesToImage(run.generator), ImageToCodes(run.encoder.cpu())
    generator = write(folder / "generator.onnx", to_image, codes, "codes", ("image", "masks"), about)
    return [generator, write(folder / "encoder.onnx", to_codes, images, "image", ("codes",), about)]


def describe(run: Run) -> dict[str, str]:
    """The metadata of both files."""
    return {
        "run": run.title, "images_seen": str(run.images_seen),
        "controls": json.dumps(list(shown(run).values()), ensure_ascii=False),
        "angles": json.dumps(list(run.generator.angles)),
        "codes_range": "about -2 to 2; angles: -2 and 2 look the same",
        "image_range": "-1 to 1, channels first",
        "masks": "0 to 1, one for each control, at the resolution of the image",
    }  # fmt: skip


def write(
    path: Path, module: nn.Module, example: Float[Tensor, "b *rest"], input_name: str, outputs: Sequence[str],
    about: dict[str, str],
) -> Exported:  # fmt: skip
    """Write one file, completely or not at all.  Raises UserError if it differs from PyTorch, or cannot be written."""
    import onnx

    difference = torch.inf

    def save(partial: Path) -> None:
        nonlocal difference
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns about its age; the newer one takes ten times as long
            torch.onnx.export(
                module.eval(), (example[:3],), partial, dynamo=False, input_names=[input_name],
                output_names=list(outputs), dynamic_axes={name: {0: "batch"} for name in (input_name, *outputs)},
                opset_version=OPSET,
            )  # fmt: skip
        model = onnx.load(partial)
        onnx.helper.set_model_props(model, about)
        with torch.no_grad():
            made = module(example[:1])
        for output, tensor in zip(model.graph.output, made if isinstance(made, tuple) else (made,), strict=True):
            for side, length in zip(output.type.tensor_type.shape.dim[1:], tensor.shape[1:], strict=True):
                side.dim_value = length  # where the exporter could not tell
        onnx.save(model, partial)
        difference = compare(partial, module, example)
        if difference > TOLERANCE:
            raise UserError(f"{path.name} would differ from PyTorch by {difference:.1e}, so it was not written")

    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_with(path, save)
    return Exported(path, difference)


@torch.no_grad()
def compare(path: Path, module: nn.Module, example: Float[Tensor, "b *rest"]) -> float:
    """The largest absolute difference between the outputs of onnxruntime and of PyTorch, over batches of BATCHES."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for part in example.split(list(BATCHES)):
        theirs = session.run(None, {session.get_inputs()[0].name: part.numpy()})
        ours = module(part)
        for their, our in zip(theirs, ours if isinstance(ours, tuple) else (ours,), strict=True):
            largest = max(largest, float(np.abs(their - our.numpy()).max()))
    return largest
