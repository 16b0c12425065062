"""Every metric once: what it needs, the function that computes it, and how its scores are named and explained.

The command line, evaluation, tables, reports and `rank` read this list.  To add a metric, write its function in a file
beside this one and add an entry to METRICS.  Functions are imported when called: importing this file takes no time."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, NamedTuple

from wherewhat.errors import UserError, did_you_mean

Needs = Literal[
    "factors", "codes", "reconstruction", "features", "paths", "generator", "moves", "resampled", "directions", "where",
    "rank",
]  # fmt: skip
"""What a metric is computed from, which is how its function is called:

factors          codes (n z), factors (n f) and a random generator
codes            codes (n z)
reconstruction   reconstructed images and real ones, in pairs
features         features of real images (n d) and of samples (m d)
paths            a generator and pairs of latents
generator        a generator, whose latents are swept
moves            pairs of images that differ in one control, and their codes (metrics.moves.Moves)
resampled        reconstructions, and images of the same codes with each column in an order of its own
directions       a generator and its controls in use, from one to another of which it is swept
where, rank      measured by the command of that name, not by `evaluate`"""
BY_DEFAULT = ("factors", "codes", "reconstruction", "generator")  # what is measured where no metric is named
QUALITY = ("reconstruction", "features", "paths")  # what the word quality stands for: how good images are
ALONE = ("moves", "resampled", "directions")  # what the word alone stands for: one model by itself, without labels


class Score(NamedTuple):
    """One number of a metric: a row of metrics.jsonl."""

    name: str
    label: str  # as tables and plots have it
    help: str  # what it says, in one line
    better: Literal["higher", "lower", ""] = "higher"
    part: str = "score"  # the field of the function's result that is the value; the result itself where it is a number
    digits: int = 3  # behind the point, in tables
    headline: bool = False  # shown at the top of reports; with labels: what orders without labels are compared with


@dataclass(frozen=True)
class Metric:
    """What is measured at once under one name."""

    name: str
    needs: Needs
    function: str | Callable[..., Any]
    """as in "factors.mig", from wherewhat.metrics, or the function itself; "" where the measuring is of another kind"""
    scores: tuple[Score, ...]
    fast: Mapping[str, Any] = field(default_factory=dict)  # where `fast` differs from the (published) defaults

    def load(self) -> Callable[..., Any]:
        """The function, imported now."""
        if not isinstance(self.function, str):
            return self.function
        module, name = self.function.split(".")
        loaded: Callable[..., Any] = getattr(import_module(f"wherewhat.metrics.{module}"), name)
        return loaded

    def options(self, protocol: str = "dlib") -> dict[str, Any]:
        """Every number that changes the result, under a protocol (dlib or fast): the keyword arguments that have a
        default, but for n_jobs, which changes nothing."""
        given = inspect.signature(self.load()).parameters.values()
        published = {p.name: p.default for p in given if p.default is not p.empty and p.name != "n_jobs"}
        return published | (dict(self.fast) if protocol == "fast" else {})

    def compute(self, *arrays: Any, seed: int | Sequence[int] = 0, **options: Any) -> Any:
        """The function's result, with random numbers from this seed if it takes any.  Only for functions of arrays."""
        import numpy as np

        function = self.load()
        random = {"rng": np.random.default_rng(seed)} if "rng" in inspect.signature(function).parameters else {}
        return function(*arrays, **random, **options)

    def rows(self, result: Any, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Rows of metrics.jsonl, one a score; what else the function found are details of the first."""
        shown = {score.part for score in self.scores}
        found = result._asdict() if isinstance(result, tuple) else {}  # type: ignore[attr-defined]
        details = {name: _plain(value) for name, value in found.items() if name not in shown}
        for score in self.scores:
            value = float(getattr(result, score.part, result))
            more = {"details": details} if details and score is self.scores[0] else {}
            yield {"metric": score.name, "value": value, "options": dict(options), **more}


def _plain(value: Any) -> Any:
    """Values that JSON has; None for a number that is not one."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.tolist() if hasattr(value, "tolist") else value


METRICS: list[Metric] = [  # in the order of tables
    Metric("factor_vae", "factors", "factors.factor_vae", (
        Score("factor_vae", "FactorVAE score", "while one factor is held, one code keeps still, always the same one; "
              "1 is best", headline=True),), fast={"votes": 2_000, "eval_votes": 1_000}),
    Metric("beta_vae", "factors", "factors.beta_vae", (
        Score("beta_vae", "β-VAE score", "a linear classifier finds out which factor images share; 1 is best"),
    ), fast={"votes": 2_000, "eval_votes": 1_000}),
    Metric("mig", "factors", "factors.mig", (
        Score("mig", "MIG", "one code knows a factor much better than the next one does; 1 is best", headline=True),)),
    Metric("dci", "factors", "factors.dci", (
        Score("dci", "DCI disentanglement", "each code depends on one factor; 1 is best", part="disentanglement",
              headline=True),
        Score("dci_completeness", "DCI completeness", "each factor is in one code; 1 is best", part="completeness"),
        Score("dci_informativeness", "DCI informativeness", "all codes together determine the factors; 1 is best",
              part="informativeness"),), fast={"tree_rows": 2_000, "trees": 30}),
    Metric("sap", "factors", "factors.sap", (
        Score("sap", "SAP", "one code alone determines a factor and the next does not; higher is better"),)),
    Metric("modularity", "factors", "factors.modularity", (
        Score("modularity", "Modularity", "each code has information about one factor only; 1 is best"),)),
    Metric("explicitness", "factors", "factors.explicitness", (
        Score("explicitness", "Explicitness", "a linear classifier recognises each value of a factor; 1 is best"),)),
    Metric("irs", "factors", "factors.irs", (
        Score("irs", "IRS", "holding a factor keeps its code still, whatever else changes; 1 is best"),)),
    Metric("infomec", "factors", "factors.infomec", (
        Score("infomec", "InfoMEC modularity", "each active code has information about one factor only; 1 is best",
              part="modularity"),
        Score("infomec_explicitness", "InfoMEC explicitness", "a linear classifier finds the factors; 1 is best",
              part="explicitness"),
        Score("infomec_compactness", "InfoMEC compactness", "each factor is in one code; 1 is best",
              part="compactness"),)),
    Metric("total_correlation", "codes", "factors.total_correlation", (
        Score("total_correlation", "Total correlation", "how far codes depend on each other, in nats; lower is better",
              better="lower"),)),
    Metric("independence", "codes", "independence.independence", (
        Score("rotation_gain", "Rotation gain", "what rotating the codes to independence would gain, in nats a code in "
              "use; lower is better", better="lower", part="rotation_gain"),
        Score("negentropy", "Negentropy", "how far a code in use is from a normal one, in nats; higher is better",
              part="negentropy"),
        Score("code_information", "Mutual information of codes", "what two codes in use know of each other, in nats; "
              "lower is better", better="lower", part="information"),), fast={"rows": 5_000}),
    Metric("consistency", "moves", "moves.consistency", (
        Score("consistency", "Self-consistency", "if one control moves, its code changes and no other; 1 is best"),)),
    Metric("predictability", "moves", "moves.predictability", (
        Score("predictability", "Variation predictability", "a network sees which control moved; 1 is best"),)),
    Metric("changes", "moves", "moves.changes", (
        Score("change_overlap", "Overlap of changes", "how alike the places are that two controls change; lower is "
              "better", better="lower", part="overlap"),
        Score("change_area", "Area of changes", "share of the image that a control changes; lower is better",
              better="lower", part="area"),
        Score("change_sameness", "Sameness of changes", "how far a control adds one picture, more or less of it; 1 is "
              "best", part="sameness"),)),
    Metric("pipe", "resampled", "moves.pipe", (
        Score("pipe", "PIPE", "images of independent latents pass for reconstructions; 1 is best"),)),
    Metric("direction_gain", "directions", "tpl.direction_gain", (
        Score("direction_gain", "Direction gain", "how much shorter sweeps along controls are than between them; "
              "higher is better"),)),
    Metric("reconstruction", "reconstruction", "", (
        Score("psnr", "PSNR", "how exact the pixels of reconstructions are, in dB; higher is better"),
        Score("ssim", "SSIM", "how similar the structure of reconstructions is to that of the images; 1 is best"),
        Score("lpips", "LPIPS", "how different reconstructions look from the images; lower is better",
              better="lower"),)),
    Metric("fid", "features", "features.frechet_distance", (
        Score("fid", "FID", "how far features of samples are from those of the data, both taken as normal "
              "distributions; lower is better", better="lower"),)),
    Metric("kid", "features", "features.kid", (
        Score("kid", "KID", "the same by a kernel, without bias for few images; lower is better", better="lower",
              part="value", digits=6),)),
    Metric("precision", "features", "features.precision_recall", (
        Score("precision", "Precision", "share of samples that could be images of the data; 1 is best",
              part="precision"),
        Score("recall", "Recall", "share of images of the data that could be samples; 1 is best", part="recall"),)),
    Metric("density", "features", "features.density_coverage", (
        Score("density", "Density", "how much of the data is near samples; higher is better", part="density"),
        Score("coverage", "Coverage", "share of images of the data that have a sample nearby; 1 is best",
              part="coverage"),)),
    Metric("ppl", "paths", "tpl.path_length", (
        Score("ppl", "PPL", "perceptual length of paths between latents; lower is smoother", better="lower"),
        Score("ppl_end", "PPL, ends", "the same at the ends of paths; lower is smoother", better="lower"),)),
    Metric("tpl", "generator", "tpl.tpl", (
        Score("tpl", "TPL", "perceptual length of traversals, summed over active controls; lower is simpler, at the "
              "same number of active controls", better="lower", headline=True),
        Score("controls", "Active controls", "how many have a traversal longer than the threshold", better="",
              digits=0, headline=True),)),
    Metric("where", "where", "", (
        Score("where", "Where", "overlap of what a control changes with the true place of its factor, or with its mask "
              "where places are not known; 1 is best", headline=True),)),
    Metric("axis", "rank", "", (
        Score("axis", "Axis score", "how much shorter sweeps along controls are than sweeps between them; higher is "
              "better"),)),
    Metric("loss", "rank", "", (
        Score("loss", "Training loss", "what an autoencoder's training minimises; lower is better", better="lower"),)),
    Metric("udr", "rank", "ranking.udr", (
        Score("udr", "UDR", "how far other models found the same codes; higher is better"),)),
    Metric("centrality", "rank", "ranking.centrality", (
        Score("centrality", "ModelCentrality", "how well models encode each other's latents; higher is better"),)),
]  # fmt: skip


def measurable() -> list[Metric]:
    """What `evaluate` can measure."""
    return [metric for metric in METRICS if metric.needs not in ("where", "rank")]


def find(name: str) -> Metric:
    """The metric of that name, or with a score of that name.  Raises UserError for a name there is not, and for what
    another command measures."""
    known = [metric for metric in METRICS if name == metric.name or name in [score.name for score in metric.scores]]
    if not known:
        names = [n for metric in measurable() for n in (metric.name, *(score.name for score in metric.scores))]
        raise UserError(f"there is no metric {name}{did_you_mean(name, [*dict.fromkeys(names), 'quality', 'alone'])}")
    if known[0].needs in ("where", "rank"):
        way = f"rank RUNS --by {name}" if known[0].needs == "rank" else "where RUN"
        raise UserError(f"{name} is measured by another command: wherewhat {way}")
    return known[0]


def choose(names: Sequence[str] | None) -> list[Metric]:
    """The metrics of these names, each once, in this order; quality and alone stand for several.  None: all that are
    measured by default."""
    if names is None:
        return [metric for metric in METRICS if metric.needs in BY_DEFAULT]
    stand_for = {
        "quality": [metric.name for metric in METRICS if metric.needs in QUALITY],
        "alone": [metric.name for metric in METRICS if metric.needs in (*ALONE, "codes", "generator")],
    }
    words = [word for name in names for word in stand_for.get(name, [name])]
    return list({metric.name: metric for metric in map(find, words)}.values())


def scores() -> dict[str, Score]:
    """Every score by name, in the order of tables."""
    return {score.name: score for metric in METRICS for score in metric.scores}


def names_help() -> str:
    """What can be asked for, for the help of the command line."""
    default = [metric.name for metric in METRICS if metric.needs in BY_DEFAULT]
    alone = [metric.name for metric in METRICS if metric.needs in ALONE]
    special = [metric for metric in METRICS if metric.needs in QUALITY and metric.needs not in BY_DEFAULT]
    more = [score.name for metric in special for score in metric.scores]
    return (
        f"{', '.join(default)}: all that can be measured if not given; {', '.join(alone)}, or alone for all of these "
        f"with independence and tpl; {', '.join(more)}, or quality for all of these with reconstruction"
    )
