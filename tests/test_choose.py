"""Choosing a model in a budget: how rungs are planned, what goes on, what is kept."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
from conftest import small

from wherewhat.errors import UserError
from wherewhat.recipes import find, with_total_images
from wherewhat.run.folder import Run
from wherewhat.select import choose as choosing
from wherewhat.select.choose import FILE, choose
from wherewhat.select.folder import is_done
from wherewhat.select.launch import Cluster, train_trial
from wherewhat.select.page import rows, write_page
from wherewhat.select.plan import RUNGS, Speed, counts, going_on, next_rung, total_images, waves
from wherewhat.select.sweep import grid
from wherewhat.train.schedule import lr_schedule

SPEED = Speed(images=300.0, start=3.0, finish=20.0)


def spent(budget, trials, slots, real):
    """Seconds that a choice takes where trials train at `real` images a second, and not as fast as was measured."""
    total, speed, seen, seconds = total_images(budget, SPEED, trials, slots), SPEED, 0, 0.0
    for k in range(len(RUNGS)):
        trials, images = next_rung(total, seen, RUNGS[k:], trials, budget - seconds, speed, slots)
        last = k == len(RUNGS) - 1
        seconds += waves(trials, slots) * ((images - seen) / real + speed.start + last * speed.finish)
        speed, seen, trials = speed._replace(images=real), images, going_on(trials, slots)
    return seconds


@pytest.mark.parametrize("slots", [1, 2, 4, 16])
@pytest.mark.parametrize("trials", [2, 6, 9])
@pytest.mark.parametrize("misjudged", [0.75, 1.0, 1.25])
def test_the_budget_is_kept_although_the_speed_was_misjudged(slots, trials, misjudged):
    assert spent(3600.0, trials, slots, misjudged * SPEED.images) == pytest.approx(3600.0, rel=0.1)


def test_half_go_on_and_more_only_where_slots_would_be_empty():
    assert counts(8, 1, 3) == [8, 4, 2] and counts(6, 1, 3) == [6, 3, 1]
    assert counts(6, 2, 3) == [6, 4, 2] and counts(6, 4, 3) == [6, 4, 4] and counts(3, 16, 3) == [3, 3, 3]


def test_the_learning_rate_decays_as_much_whatever_the_images():
    base = find("folder-ae")
    for total in (10_000, 60_000, 1_000_000):
        shorter = with_total_images(base, total)
        after = replace(base.optimizer, warmup_images=0), replace(shorter.optimizer, warmup_images=0)
        ends = [lr_schedule(c, images) for c, images in zip(after, (base.total_images, total), strict=True)]
        assert ends[0] == pytest.approx(ends[1], rel=1e-3)


# --------------------------------------------------------------------------------------------------- in one process


@pytest.fixture
def one_process(monkeypatch):
    """Trials train in this process, one after the other, two slots at a time as it seems; the list of what trained."""
    trained = []

    @contextmanager
    def connected(_cluster):
        yield 2

    def launch(trials, folder, cluster, show, **how):
        failed = {}
        for trial in trials:
            if not is_done(trial, folder):
                trained.append((folder.name, trial.name, trial.config.total_images))
                show()
                why = train_trial(trial.config, str(folder / trial.name), "cpu", 1, how)
                failed |= {trial.name: why} if why else {}
        return failed

    monkeypatch.setattr(choosing, "connected", connected)
    monkeypatch.setattr(choosing, "launch", launch)
    monkeypatch.setattr(choosing, "PROBE", 1e-9)
    monkeypatch.setattr(choosing, "LEAST_PROBE", 0.05)
    monkeypatch.setattr(choosing.plan, "total_images", lambda *_: 256)
    monkeypatch.setattr(choosing.plan, "LEAST_IMAGES", 1)
    return trained


def trials(seeds=4, **changes):
    return grid(replace(small("masked", images=512), **changes), [f"seed=0..{seeds - 1}"])


def test_losers_stop_at_a_rung_and_the_best_is_kept(one_process, tmp_path):
    choice = choose(trials(), tmp_path, Cluster(), minutes=60.0, quiet=True)
    assert [len(rung.trials) for rung in choice.rungs] == [4, 2, 2]
    for before, after in zip(choice.rungs, choice.rungs[1:], strict=False):
        values = list(before.order.values())
        assert values == sorted(values) and after.trials == list(before.order)[:2] and after.images > before.images
    assert choice.kept == next(iter(choice.rungs[-1].order))
    seen = {name: Run.open(tmp_path / name).images_seen for name in choice.trials}
    assert {seen[name] for name in choice.trials if name not in choice.rungs[1].trials} == {choice.rungs[0].images}
    assert seen[choice.kept] == max(seen.values()) >= choice.rungs[-1].images
    assert not (tmp_path / ".speed").exists()
    halflife = {Run.open(tmp_path / name).config.optimizer.lr_halflife for name in choice.trials}
    assert halflife == {trials()[0].config.optimizer.lr_halflife * choice.total // 512}


def test_the_same_call_goes_on_after_an_interruption(one_process, monkeypatch, tmp_path):
    whole, real = tmp_path / "whole", choosing.launch
    expected = choose(trials(), whole, Cluster(), minutes=60.0, quiet=True)
    interrupted = []

    def launch(some, folder, cluster, show, **how):
        if some[0].config.total_images == expected.rungs[1].images and not interrupted:
            interrupted.append(real(some[:1], folder, cluster, show, **how))
            raise KeyboardInterrupt
        return real(some, folder, cluster, show, **how)

    monkeypatch.setattr(choosing, "launch", launch)
    one_process.clear()
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        choose(trials(), stopped, Cluster(), minutes=60.0, quiet=True)
    saved = json.loads((stopped / FILE).read_text())
    assert len(saved["rungs"]) == 2 and saved["seconds"] > 0
    choice = choose(trials(), stopped, Cluster(), minutes=60.0, quiet=True)
    assert [rung.order for rung in choice.rungs] == [rung.order for rung in expected.rungs]
    assert choice.seconds > saved["seconds"] and len(one_process) == len(set(one_process))
    assert choose(trials(), stopped, Cluster(), minutes=60.0, quiet=True) is not None and len(set(one_process)) == 10


@pytest.mark.parametrize("how", [{"minutes": 30.0}, {"by": "tpl"}, {"seeds": 3}])
def test_another_choice_in_the_same_folder_is_refused(one_process, tmp_path, how):
    choose(trials(), tmp_path, Cluster(), minutes=60.0, quiet=True)
    with pytest.raises(UserError, match="holds a choice by loss among seed=0"):
        choose(trials(how.pop("seeds", 4)), tmp_path, Cluster(), **{"minutes": 60.0, **how}, quiet=True)


def test_a_seed_that_fails_is_left_out(one_process, monkeypatch, tmp_path):
    real = choosing.launch

    def launch(some, folder, cluster, show, **how):
        if folder != tmp_path:
            return real(some, folder, cluster, show, **how)
        return real([t for t in some if t.name != "seed=1"], folder, cluster, show, **how) | {"seed=1": "it is NaN"}

    monkeypatch.setattr(choosing, "launch", launch)
    choice = choose(trials(3), tmp_path, Cluster(), minutes=60.0, quiet=True)
    assert "seed=1" not in choice.rungs[1].trials and choice.kept != "seed=1"
    assert ("seed=1", "failed: it is NaN") in [(name, fate) for name, _, fate in rows(choice)]


def test_scores_that_do_not_compare_are_refused_before_anything_trains(one_process, tmp_path):
    settings = grid(small("masked"), ["autoencoder.beta=1,4", "seed=0..1"])
    with pytest.raises(UserError, match="beta=4,seed=0 and beta=1,seed=0 minimise other losses"):
        choose(settings, tmp_path, Cluster(), quiet=True)
    assert not one_process


def test_the_order_of_folders_decides_nothing(one_process, tmp_path):
    first = choose(trials(), tmp_path / "a", Cluster(), minutes=60.0, quiet=True)
    other = choose(trials()[::-1], tmp_path / "b", Cluster(), minutes=60.0, quiet=True)
    assert [rung.order for rung in first.rungs] == [rung.order for rung in other.rungs]
    shutil.copytree(tmp_path / "a" / first.kept, tmp_path / "c" / "z")
    shutil.copytree(tmp_path / "a" / first.kept, tmp_path / "c" / "a")
    rung = replace(first.rungs[-1], trials=["z", "a"], failed={})
    equal = replace(first, rungs=[rung])
    choosing.judge(equal, tmp_path / "c", "pixels")
    assert list(rung.order) == ["a", "z"]


def test_the_page_shows_every_trial_and_what_the_last_ones_learnt(one_process, tmp_path):
    choice = choose(trials(), tmp_path, Cluster(), minutes=60.0, quiet=True)
    text = write_page(choice, tmp_path).read_text()
    assert f"{choice.kept} is kept" in text and all(name in text for name in choice.trials)
    assert f"stopped at {choice.rungs[0].images:,} images" in text
    assert text.count('images, their reconstructions, samples" src="data:') == len(choice.rungs[-1].order)
    assert str(tmp_path) not in text


def test_a_budget_that_is_too_small_says_how_much_would_do(one_process, monkeypatch, tmp_path):
    monkeypatch.setattr(choosing.plan, "total_images", total_images)
    monkeypatch.setattr(choosing.plan, "LEAST_IMAGES", 10**9)
    with pytest.raises(UserError, match=r"--minutes \d+ or more, or fewer --seeds"):
        choose(trials(), tmp_path, Cluster(), minutes=1.0, quiet=True)
