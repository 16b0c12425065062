"""Move one control of a photograph without PyTorch: python onnx_control.py FOLDER photo.png "hair colour" out.png

FOLDER is what `wherewhat export RUN --onnx` has written.
"""

import json
import sys

import numpy as np
from onnxruntime import InferenceSession
from PIL import Image

folder, photo, name, out = sys.argv[1:]
encoder, generator = (InferenceSession(f"{folder}/{part}.onnx") for part in ("encoder", "generator"))
_, channels, height, width = generator.get_outputs()[0].shape
image = Image.open(photo).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]).resize((width, height))
pixels = np.asarray(image, np.float32).reshape(1, height, width, channels).transpose(0, 3, 1, 2) / 127.5 - 1

(codes,) = encoder.run(None, {"image": pixels})
names = json.loads(generator.get_modelmeta().custom_metadata_map["controls"])
swept = codes.repeat(7, axis=0)
swept[:, names.index(name)] = np.linspace(-2, 2, 7)
images, _masks = generator.run(None, {"codes": swept})

row = np.concatenate([pixels[0], *images], axis=2).transpose(1, 2, 0)  # the photograph, then the sweep
Image.fromarray(((row + 1) * 127.5).round().astype(np.uint8).squeeze()).save(out)
