"""A picture of the page as the end of its address, so that it can be shared and survives a reload: where it came from,
and what was changed, as in seed=26&truncation=0.8&z15=-2&lock=4,5"""

import math
from collections.abc import Mapping
from urllib.parse import urlencode

from wherewhat.app.scene import LONGEST_ORIGIN, MOST_TRUNCATION, SEEDS, Look, Scene
from wherewhat.errors import UserError


def written(look: Look, prefix: str = "") -> str:
    """The parameters of a picture; prefix: begins the name of each, where a page has several runs."""
    if look.source:
        found = {look.source[0]: str(look.source[1])}
    else:
        found = {"from": look.origin[:LONGEST_ORIGIN], "codes": ",".join(f"{code:g}" for code in look.drawn)}
    if look.truncation != 1:
        found["truncation"] = f"{look.truncation:g}"
    found |= {f"z{control}": f"{value:g}" for control, value in look.moved.items()}
    if look.locked:
        found["lock"] = ",".join(map(str, sorted(look.locked)))
    return urlencode({prefix + name: value for name, value in found.items()}, safe=",")


def read(scene: Scene, parameters: Mapping[str, str], prefix: str = "") -> Look:
    """The picture that they describe; what the page opens with if they say nothing of one.  Raises UserError if they
    cannot be understood or its data are not there."""
    given = {name[len(prefix) :]: value for name, value in parameters.items() if name.startswith(prefix)}
    try:
        look = _start(scene, given)
        controls = [k for k in scene.controls if f"z{k}" in given]
        for control in controls:
            look = look.move(control, _number(given[f"z{control}"], scene.reach(control)))
        for word in filter(None, given.get("lock", "").split(",")):
            look = look.lock(int(word), True)
        return look.truncate(max(0.0, _number(given.get("truncation", "1"), MOST_TRUNCATION)))
    except ValueError:
        raise UserError("the address of this page does not describe a picture of this run: it opens anew") from None


def _start(scene: Scene, given: Mapping[str, str]) -> Look:
    """The picture before anything was changed.  Raises UserError, or ValueError for words that are no numbers."""
    if "seed" in given:
        return scene.sample(int(given["seed"]) % SEEDS)
    if "image" in given:
        return scene.real_image(int(given["image"]) % SEEDS)
    if "codes" in given:
        codes = [_number(code, math.inf) for code in given["codes"].split(",")]
        return scene.from_codes(codes, given.get("from", "")[:LONGEST_ORIGIN])
    return scene.first()


def _number(word: str, most: float) -> float:
    """Between −most and most.  Raises ValueError for what is no number."""
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(word)
    return min(max(value, -most), most)
