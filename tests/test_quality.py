"""Image quality of a run: rows are those of the functions on its images; counts, caching, and what is refused."""

import numpy as np
import pytest
import torch
from conftest import small
from helpers import Few, enlivened

from wherewhat.data import open_data
from wherewhat.data.batches import draw_index, identity
from wherewhat.errors import UserError
from wherewhat.evaluation import kinds
from wherewhat.evaluation.encoding import ImagesOf
from wherewhat.evaluation.evaluate import choose, evaluate
from wherewhat.evaluation.kinds import real_features
from wherewhat.metrics.backbones import load_backbone
from wherewhat.metrics.distance import Pixels
from wherewhat.metrics.features import density_coverage, frechet_distance, kid, precision_recall
from wherewhat.metrics.images import psnr, ssim
from wherewhat.metrics.tpl import path_length
from wherewhat.progress import silent
from wherewhat.run.folder import Run

COUNT = 100
SETS = ["fid", "kid", "precision", "recall", "density", "coverage"]


class Thumbnails:
    """A backbone for small images: what is left of them at 2 x 2."""

    options = {"network": "thumbnails"}  # noqa: RUF012
    calls = 0

    def __call__(self, images):
        Thumbnails.calls += len(images)
        return torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)


@pytest.fixture(autouse=True)
def thumbnails(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kinds, "load_backbone", lambda name, device: Thumbnails())


@pytest.fixture
def run(trained, tmp_path):
    return enlivened(trained, tmp_path / "run")


def measure(run, *metrics, **options):
    rows = evaluate(run, list(metrics), distance="pixels", count=COUNT, **options)
    return {row["metric"]: row for row in rows}


def test_scores_are_those_of_the_functions_on_the_images_of_the_run(run):
    rows = measure(run, "quality")
    assert list(rows) == ["psnr", "ssim", *SETS, "ppl", "ppl_end"]
    data = open_data(run.config.data)
    real = Thumbnails()(torch.from_numpy(data.images(draw_index(data, COUNT, 0)))).numpy()
    images = run.generator(torch.from_numpy(run.draw(COUNT, [0, 1]))).image.clamp(-1, 1)
    fake = Thumbnails()(((images + 1) * 127.5).round().to(torch.uint8)).numpy()
    assert rows["fid"]["value"] == pytest.approx(frechet_distance(real, fake), rel=1e-4)
    assert rows["kid"]["value"] == pytest.approx(kid(real, fake, np.random.default_rng(0)).value, rel=1e-4)
    assert (rows["precision"]["value"], rows["recall"]["value"]) == precision_recall(real, fake)
    assert (rows["density"]["value"], rows["coverage"]["value"]) == density_coverage(real, fake)
    assert rows["fid"]["value"] > 0.01
    about = run.data_options(identity(data))
    assert rows["fid"]["options"] == {"network": "thumbnails", "seed": 0, "real": COUNT, "fake": COUNT, **about}
    assert (rows["kid"]["options"]["subsets"], rows["kid"]["options"]["size"]) == (100, 1_000)
    assert rows["recall"]["options"]["neighbours"] == 3
    assert rows["coverage"]["options"]["neighbours"] == 5


def test_reconstructions_are_compared_with_their_images(run, monkeypatch):
    monkeypatch.setattr(kinds, "RECONSTRUCTED", 20)
    rows = measure(run, "reconstruction")
    data = open_data(run.config.data)
    real = torch.from_numpy(data.images(draw_index(data, 20, 0))).float() / 127.5 - 1
    again = run.generator(run.encoder(real)).image.clamp(-1, 1)
    assert list(rows) == ["psnr", "ssim"]  # pixels are not LPIPS
    assert rows["psnr"]["value"] == pytest.approx(psnr(again, real).mean().item(), rel=1e-5)
    assert rows["ssim"]["value"] == pytest.approx(ssim(again, real).mean().item(), rel=1e-5)
    assert rows["psnr"]["details"]["error"] > 0
    assert rows["psnr"]["options"] == {"real": 20, "seed": 0, **run.data_options(identity(data))}


def test_path_lengths_are_those_of_the_generator_between_latents_of_the_prior(run):
    rows = measure(run, "ppl")
    ends = run.draw(COUNT, [0, 2]), run.draw(COUNT, [0, 3])
    for name, along in (("ppl", "full"), ("ppl_end", "end")):
        expected = path_length(ImagesOf(run.generator), ends, Pixels(), run.prior.interpolate, along)
        assert rows[name]["value"] == pytest.approx(expected.value, rel=1e-4)
        assert rows[name]["options"]["interpolation"] == ("slerp" if run.config.prior == "normal" else "lerp")
        assert rows[name]["options"]["pairs"] == COUNT


def test_rows_are_written_and_the_network_stands_in_each(run, monkeypatch):
    measure(run, "fid")
    other = Thumbnails()
    other.options = {"network": "other"}
    monkeypatch.setattr(kinds, "load_backbone", lambda name, device: other)
    measure(run, "fid")
    measure(run, "fid")
    assert [row["options"]["network"] for row in run.rows("metrics")] == ["thumbnails", "other"]


def test_real_features_are_kept_by_content_and_network(run, tmp_path):
    def measured(data, count=12, network="thumbnails"):
        backbone = Thumbnails()
        backbone.options = {"network": network}
        before = Thumbnails.calls
        features = real_features(data, np.arange(count), backbone, "cpu", silent)
        return features, Thumbnails.calls - before

    first, work = measured(Few())
    assert work == 12
    again, work = measured(Few())
    assert work == 0
    np.testing.assert_array_equal(first, again)

    class Others(Few):  # another data set of the same name and size
        def images(self, index):
            return 255 - super().images(index)

    assert not np.array_equal(measured(Others())[0], first)
    assert measured(Few(), 11)[1] == 11
    assert measured(Few(), network="other")[1] == 12
    files = sorted((tmp_path / "cache" / "features").iterdir())
    assert len(files) == 4
    for file in files:
        file.write_bytes(b"half")
    assert measured(Few())[1] == 12  # a broken file is not read
    assert measured(Few())[1] == 0


def test_without_a_cache_features_are_computed_again(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "file"))
    assert measure(run, "fid")["fid"]["value"] > 0


def test_of_fewer_images_as_many_samples_are_drawn(run, monkeypatch):
    monkeypatch.setattr("wherewhat.data.open_data", lambda config: Few())
    options = measure(run, "fid")["fid"]["options"]
    assert (options["real"], options["fake"]) == (12, 12)


def test_the_seed_draws_other_images(run):
    assert measure(run, "fid")["fid"]["value"] == measure(run, "fid")["fid"]["value"]
    assert measure(run, "fid", seed=1)["fid"]["value"] != measure(run, "fid")["fid"]["value"]


def test_only_reconstruction_is_measured_by_default():
    default, quality = choose(None, "dlib", None)[0], choose(["quality"], "dlib", None)[0]
    assert [metric.name for metric in default if metric in quality] == ["reconstruction"]


def test_equal_images_do_not_make_the_mean_infinite(run, monkeypatch):
    monkeypatch.setattr(kinds, "psnr", lambda a, b: torch.full((len(a),), torch.inf))
    assert measure(run, "reconstruction")["psnr"]["value"] == kinds.BEST_PSNR


def test_a_gan_has_no_reconstructions(run):
    config = small("rooms-lean")
    with pytest.raises(UserError, match="was not trained on images, so its reconstructions cannot be measured"):
        measure(Run(run.path, config), "reconstruction")


def test_unknown_metrics_are_reported_with_the_nearest():
    with pytest.raises(UserError, match=r"no metric quallity; did you mean quality\?"):
        choose(["quallity"], "dlib", None)
    chosen = choose(["mig", "quality", "recall"], "dlib", None)[0]
    assert [m.name for m in chosen] == ["mig", "reconstruction", "fid", "kid", "precision", "density", "ppl"]


def test_what_cannot_be_measured_is_reported_before_anything_is(run, monkeypatch):
    monkeypatch.setattr(kinds, "load_backbone", load_backbone)
    monkeypatch.setattr(kinds, "encode", None)
    with pytest.raises(UserError, match="Inception is not on this machine"):
        evaluate(run, ["mig", "fid"], features="inception")
    assert run.rows("metrics") == []


def test_only_what_is_missing_is_measured_again(run, monkeypatch):
    first = measure(run, "fid")
    counted = []
    monkeypatch.setattr(kinds, "real_features", lambda *rest: counted.append(1) or real_features(*rest))
    assert measure(run, "fid")["fid"]["value"] == first["fid"]["value"] and not counted
    assert set(measure(run, "quality")) > {"fid", "kid", "psnr"} and len(counted) == 1
