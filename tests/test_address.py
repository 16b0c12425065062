"""A picture of the page as the end of its address."""

from urllib.parse import parse_qsl

import pytest

from wherewhat.app import address
from wherewhat.app.scene import Scene
from wherewhat.errors import UserError
from wherewhat.run import shipped
from wherewhat.run.folder import Run


@pytest.fixture(scope="module")
def scene():
    return Scene(Run.open(shipped.SHIPPED / "faces"), "faces")


def again(scene, look, prefix=""):
    return address.read(scene, dict(parse_qsl(address.written(look, prefix))), prefix)


def test_a_picture_is_found_again_by_its_address(scene):
    changed = scene.sample(26).move(15, -1.2345).move(4, 2.0).truncate(0.8).lock(4, True).lock(7, True)
    for look in (scene.sample(3), scene.real_image(2), changed, scene.real_image(1).move(2, 3.0)):
        found = again(scene, look)
        assert found == look and found.locked == look.locked and scene.codes(found) == scene.codes(look)


def test_a_photograph_is_found_again_by_its_codes(scene):
    photo = scene.from_codes([0.123, *scene.sample(5).drawn[1:]], "me & you.png").move(3, 1.0)
    assert again(scene, photo) == photo


def test_only_what_was_changed_is_in_the_address(scene):
    assert address.written(scene.sample(26)) == "seed=26"
    assert address.written(scene.sample(26).move(15, -2.0).truncate(0.8)) == "seed=26&truncation=0.8&z15=-2"


def test_several_runs_share_an_address(scene):
    one, two = scene.sample(1).move(3, 1.0), scene.sample(2).move(4, 2.0)
    both = dict(parse_qsl(address.written(one, "1.") + "&" + address.written(two, "2.")))
    assert address.read(scene, both, "1.") == one and address.read(scene, both, "2.") == two


def test_an_address_that_says_nothing_of_the_picture_opens_the_first_one(scene):
    assert address.read(scene, {"__theme": "dark"}) == scene.first()


def test_values_are_kept_within_those_of_the_sliders(scene):
    look = address.read(scene, {"seed": "1", "z15": "99", "z99": "1", "truncation": "-3"})
    assert look.moved == {15: scene.reach(15)} and look.truncation == 0


@pytest.mark.parametrize(
    "given", [{"seed": "x"}, {"seed": "1", "z15": "nan"}, {"seed": "1", "lock": "a"},
              {"codes": "1,2,inf"}, {"seed": "9" * 5000}, {"codes": "1,2"}]
)  # fmt: skip
def test_an_address_that_cannot_be_understood_is_said(scene, given):
    with pytest.raises(UserError):
        address.read(scene, given)
