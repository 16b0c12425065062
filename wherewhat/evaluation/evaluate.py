"""From a run, from anyone's generator or from anyone's codes to scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wherewhat.data.batches import identity
from wherewhat.errors import UserError, did_you_mean
from wherewhat.evaluation.encoding import Encoded
from wherewhat.evaluation.kinds import ENCODED, KINDS, Row, Subject, code_rows, lacking
from wherewhat.machine import keep_memory
from wherewhat.metrics import registry
from wherewhat.metrics import tpl as lengths
from wherewhat.metrics.factors import BINS, discretise, require
from wherewhat.metrics.registry import Metric
from wherewhat.progress import Progress, silent
from wherewhat.run.model import Model

COUNT = 10_000  # real images, samples, and pairs of latents of the metrics of image quality


def evaluate(
    run: Model, metrics: Sequence[str] | None = None, protocol: str = "dlib", tpl_protocol: str | None = None,
    distance: str = "alex", threshold: float | None = None, seed: int = 0, device: str = "cpu",
    progress: Progress = silent, until: float | None = None, again: bool = False, features: str = "alex",
    count: int = COUNT,
) -> list[Row]:  # fmt: skip
    """Scores of a run's last checkpoint, or of anyone's generator: rows of metric, value, options, details, also
    written to its metrics.jsonl.

    metrics: names of wherewhat.metrics.registry; None: all that are measured by default and that the run and its data
    allow.  The last row, "controls", describes each control if tpl is among them.  features, count: the network and the
    number of images of FID and its like.  Each metric is written when it is measured, and is not measured again if
    metrics.jsonl has it with the same options (unless `again`), so that an evaluation which was stopped goes on.
    Raises UserError for unknown names, and for metrics that the run or its data do not allow."""
    keep_memory()
    chosen, protocol, tpl_protocol = choose(metrics, protocol, tpl_protocol)
    subject = Subject(run, protocol, tpl_protocol, distance, threshold, until, features, count, seed, device, progress)
    chosen = _possible(subject, chosen, strict=metrics is not None)
    asked = {metric.name: KINDS[metric.needs].asked(subject, metric) for metric in chosen}
    about_data = run.data_options(identity(subject.data)) if run.source else {}
    model, common = run.fingerprint, {"seed": seed, **about_data}
    about = run.images_seen, model
    newest = [] if again else reversed(run.rows("metrics"))
    earlier = [row for row in newest if (row["images"], row.get("model")) == about]
    rows: list[Row] = []
    for metric in sorted(chosen, key=lambda metric: metric.needs == "generator"):
        progress(metric.name, 0.0)
        for row in cached_rows(earlier, asked[metric.name], common) or KINDS[metric.needs].measure(subject, metric):
            row["options"] |= about_data
            if metric.name == "tpl" and threshold not in (None, lengths.find_protocol(tpl_protocol).threshold):
                row["options"]["own_threshold"] = True
            rows.append({"images": run.images_seen, "model": model, **row})
            run.log_metric(rows[-1])  # also an earlier one: the newest row is what was asked for last
    progress("done", 1.0)
    return rows


def _possible(subject: Subject, chosen: list[Metric], strict: bool) -> list[Metric]:
    """The metrics that the run and its data allow; strict: raises UserError if some are not allowed."""
    problems = {metric.name: lacking(subject, metric) for metric in chosen}
    if strict and any(problems.values()):
        raise UserError(next(filter(None, problems.values())))
    return [metric for metric in chosen if not problems[metric.name]]


def cached_rows(earlier: list[Row], asked: dict[str, dict[str, Any]], common: dict[str, Any]) -> list[Row]:
    """Of these rows the first of each score that has the options asked for; none unless all scores are there."""

    def fits(row: Row, name: str, options: dict[str, Any]) -> bool:
        wanted = {**common, **options}.items()
        return row["metric"] == name and all(row["options"].get(key) == value for key, value in wanted)

    found = [next((row for row in earlier if fits(row, *score)), None) for score in asked.items()]
    return [row for row in found if row] if all(found) else []


def evaluate_codes(
    codes: np.ndarray, factors: np.ndarray | None = None, factor_names: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None, protocol: str = "dlib", seed: int = 0, progress: Progress = silent,
) -> list[Row]:  # fmt: skip
    """Scores of anyone's codes (n × z): rows as of `evaluate`.  Without factors (n × f) those that need none; factors
    that are no integers are cut into equally filled bins.  Raises UserError for unknown names and for arrays that
    cannot be scored."""
    possible = ("codes",) if factors is None else ("factors", "codes")
    chosen, protocol, _ = choose(metrics, protocol, None)
    unfit = [metric for metric in chosen if metric.needs not in possible]
    if metrics and unfit:
        wanted = "factors" if unfit[0].needs == "factors" else "a generator"
        raise UserError(f"{unfit[0].name} needs {wanted}, and these are codes" + " alone" * (factors is None))
    names = factor_names or [f"factor {k}" for k in range(0 if factors is None else factors.shape[1])]
    binned = factors is not None and factors.dtype.kind == "f"
    if factors is not None:
        factors = discretise(factors) if binned else factors
        require(codes, factors)
    known = Encoded(codes, np.zeros((len(codes), 0), int) if factors is None else factors)
    chosen = [metric for metric in chosen if metric not in unfit]
    rows: list[Row] = []
    for done, metric in enumerate(chosen):
        progress(metric.name, done / len(chosen))
        rows += code_rows(metric, known, names, protocol, seed)
    for row in rows if binned else ():
        row["options"]["binned"] = BINS
    progress("done", 1.0)
    return rows


def choose(metrics: Sequence[str] | None, protocol: str, tpl_protocol: str | None) -> tuple[list[Metric], str, str]:
    """Metrics by name, and the two protocols.  The one word `protocol` may also be TPL's: small, medium, large, huge;
    fast goes with small, dlib with medium.  Raises UserError for names that there are not."""
    chosen = registry.choose(metrics)
    if protocol not in ENCODED and protocol in lengths.PROTOCOLS:
        protocol, tpl_protocol = "dlib", tpl_protocol or protocol
    if protocol not in ENCODED:
        raise UserError(f"there is no protocol {protocol}{did_you_mean(protocol, [*ENCODED, *lengths.PROTOCOLS])}")
    if tpl_protocol is None:
        tpl_protocol = "small" if protocol == "fast" else "medium"
    lengths.find_protocol(tpl_protocol)
    return chosen, protocol, tpl_protocol
