"""Whether a set of pictures has an upright is told from the pictures alone."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import small
from scipy.ndimage import rotate

from wherewhat.config import DataConfig
from wherewhat.data import open_data
from wherewhat.data.upright import has_upright, upright_share
from wherewhat.train.loop import train


class Turned:
    """Pictures of another set, each turned by any angle."""

    name, channels, factors = "turned", 3, None

    def __init__(self, inner) -> None:
        self.inner, self.size = inner, inner.size

    def __len__(self) -> int:
        return len(self.inner)

    def images(self, index: np.ndarray) -> np.ndarray:
        turns = np.random.default_rng(0).uniform(0, 360, len(index))
        pairs = zip(self.inner.images(index), turns, strict=True)
        return np.stack([rotate(x, turn, (1, 2), reshape=False, order=1, mode="nearest") for x, turn in pairs])


@pytest.fixture(scope="module")
def rooms():
    return open_data(DataConfig("rooms", 32, 32))


def test_rooms_have_an_upright_until_they_are_turned(rooms):
    assert has_upright(rooms)
    assert not has_upright(Turned(rooms))
    assert upright_share(rooms) > 2 * upright_share(Turned(rooms)) - 0.2


def test_sprites_have_none_unless_they_all_point_one_way():
    sprites = open_data(DataConfig("sprites", 32, 32, 1))
    assert not has_upright(sprites)
    values = sprites.factors.values(np.arange(len(sprites)))
    same = np.flatnonzero((values[:, 2] == 3) & (values[:, 0] == 2))  # hearts

    class Same(Turned):
        channels = 1

        def __len__(self) -> int:
            return len(same)

        def images(self, index: np.ndarray) -> np.ndarray:
            return sprites.images(same[index])

    assert has_upright(Same(sprites))


def test_the_answer_is_the_same_each_time_and_blind_to_brightness(rooms):
    class Dark(Turned):
        def images(self, index: np.ndarray) -> np.ndarray:
            return self.inner.images(index) // 2

    assert upright_share(rooms) == upright_share(rooms)
    assert upright_share(Dark(rooms)) == pytest.approx(upright_share(rooms), abs=0.05)


def test_a_turn_that_is_chosen_is_said(tmp_path, capsys):
    config = small("masked", images=8)
    stage = replace(config.generator.stages[0], transform="auto")
    data = replace(config.data, source="sprites", channels=1)
    config = replace(config, data=data, generator=replace(config.generator, stages=(stage,)))
    run = train(config, str(tmp_path / "run"), "cpu")
    assert run.config.generator.angles and "no upright" in capsys.readouterr().err
