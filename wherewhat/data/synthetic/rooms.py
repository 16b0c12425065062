"""Rooms: a solid body in a room, with the six factors of 3D Shapes.  n images or rays, c channels, h w space."""

import colorsys
from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float, Integer, UInt8

from wherewhat.data.factors import Factors

HUES = 10
HALF_ROOM = 3.0
LIGHT = np.array([0.45, 0.8, -0.4], np.float32) / np.linalg.norm([0.45, 0.8, -0.4])
SUPERSAMPLE = 2


class Rooms:
    """A body in a room.  Geometry has only 8·4·15 combinations, so each is traced once into four buffers: how much of
    the colours of floor, walls and body a pixel shows, and its highlight.  Colours are mixed on demand."""

    name = "rooms"
    channels = 3
    fast = True
    factors = Factors(
        ("floor hue", "wall hue", "object hue", "scale", "shape", "orientation"), (HUES,) * 3 + (8, 4, 15)
    )

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._shading = _shadings(size)
        self._palette = np.array([colorsys.hsv_to_rgb(i / HUES, 1, 1) for i in range(HUES)], np.float32)

    def __len__(self) -> int:
        return len(self.factors)

    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]:
        values = self.factors.values(index)
        white = np.ones((len(index), 1, 3), np.float32)  # of the highlight
        colours = np.concatenate([self._palette[values[:, :3]], white], 1).transpose(0, 2, 1)
        geometry = np.ravel_multi_index(tuple(values[:, 3:].T), self.factors.sizes[3:])
        mixed = colours @ self._shading[geometry].reshape(len(index), 4, -1).astype(np.float32)
        return np.minimum(mixed, 255, out=mixed).astype(np.uint8).reshape(len(index), 3, *self.size)


@lru_cache(maxsize=2)
def _shadings(size: tuple[int, int]) -> UInt8[np.ndarray, "g 4 h w"]:
    """The buffers of floor, walls, body and highlight for every (scale, shape, orientation)."""
    scales, shapes, angles = (range(n) for n in Rooms.factors.sizes[3:])
    h, w = size
    made = np.empty((len(scales), len(shapes), len(angles), 4, h, w), np.uint8)
    for o in angles:
        eye, rays = _camera(np.deg2rad(-30 + 60 * o / (len(angles) - 1)), h * SUPERSAMPLE, w * SUPERSAMPLE)
        ground = _room(eye, rays)
        for s, k in product(scales, shapes):
            buffers = _shade(eye, rays, ground, k, 0.75 + 0.5 * s / (len(scales) - 1))
            fine = buffers.reshape(4, h, SUPERSAMPLE, w, SUPERSAMPLE)
            made[s, k, o] = np.rint(fine.mean((2, 4)) * 255)
    return made.reshape(-1, 4, h, w)


def _camera(angle: float, height: int, width: int) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "n 3"]]:
    """The place of the camera, which circles around the middle of the room, and the direction of each pixel's ray."""
    eye = np.array([5.2 * np.sin(angle), 2.6, -5.2 * np.cos(angle)])
    forward = np.array([0, 0.85, 0]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    up = np.cross(forward, right)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) + 0.5
    short = min(height, width)
    x, y = (x - width / 2) / short, (height / 2 - y) / short
    rays = forward + 0.92 * (x[..., None] * right + y[..., None] * up)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return eye.astype(np.float32), rays.reshape(-1, 3).astype(np.float32)


def _room(eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each ray: the distance to the floor or a wall, whether it is the floor, the light there.  No wall in front."""
    planes = (1, 0.0, -1), (0, -HALF_ROOM, -1), (0, HALF_ROOM, 1), (2, HALF_ROOM, 1)  # axis, place, direction of rays
    with np.errstate(divide="ignore"):
        hits = [np.where(way * rays[:, k] > 0, (at - eye[k]) / rays[:, k], np.inf) for k, at, way in planes]
    distances = np.stack(hits, 1)
    distances[:, 1:3][distances[:, 1:3] <= 0] = np.inf  # a camera outside a side wall looks through it
    nearest = distances.argmin(1)
    light = np.array([0.95, 0.85, 0.6, 0.75], np.float32)[nearest]
    return distances.min(1).astype(np.float32), nearest == 0, light


def _shade(
    eye: np.ndarray, rays: np.ndarray, ground: tuple[np.ndarray, np.ndarray, np.ndarray], shape: int, scale: float
) -> Float[np.ndarray, "4 n"]:
    """The four buffers of one geometry: a body of this shape and scale before the floor and walls of `_room`."""
    far, is_floor, light = ground
    at, normal = SHAPES[shape](np.broadcast_to(eye, rays.shape), rays, np.float32(scale))
    hit = at < far
    places = eye + far[:, None] * rays
    shadow, _ = SHAPES[shape](places + 1e-3 * LIGHT, np.broadcast_to(LIGHT, rays.shape), np.float32(scale))
    light = light * np.where(np.isfinite(shadow), np.float32(0.55), np.float32(1))
    toward = np.clip(normal @ LIGHT, 0, None)
    middle = LIGHT - rays
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    gloss = np.clip((normal * middle).sum(1), 0, None) ** 40
    own = 0.35 + 0.6 * toward
    buffers = [(~hit & is_floor, light), (~hit & ~is_floor, light), (hit, own), (hit, 0.45 * gloss)]
    return np.stack([np.where(where, value, 0) for where, value in buffers])


# Each shape gives, for each ray, the distance to it (infinite where the ray misses it) and the normal there.  It stands
# on the floor.  At one scale all shapes are 1.8 to 2 radii high, so that equal scales look equal.


def _sphere(eye: np.ndarray, rays: np.ndarray, r: np.float32, height: np.float32 | None = None) -> tuple:
    centre = np.array([0, r if height is None else height, 0], np.float32)
    offset = eye - centre
    b = (offset * rays).sum(1)
    inside = b * b - (offset * offset).sum(1) + r * r
    at = np.where(inside > 0, -b - np.sqrt(np.maximum(inside, 0)), np.inf)
    at = np.where(at > 0, at, np.inf)
    return at, _normals(eye, rays, at, lambda p: (p - centre) / r)


def _cube(eye: np.ndarray, rays: np.ndarray, r: np.float32) -> tuple:
    half = r * np.float32(0.9)
    centre = np.array([0, half, 0], np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (centre - half - eye) / rays, (centre + half - eye) / rays
    enter, leave = np.minimum(one, two), np.maximum(one, two)
    at = enter.max(1)
    at = np.where((at < leave.min(1)) & (at > 0), at, np.inf)
    side = np.eye(3, dtype=np.float32)[enter.argmax(1)]
    return at, side * -np.sign(rays)


def _tube(eye: np.ndarray, rays: np.ndarray, r: np.float32, low: np.float32, high: np.float32) -> tuple:
    """The side of a standing cylinder."""
    e, d = eye[:, ::2], rays[:, ::2]
    a, b, c = (d * d).sum(1), (e * d).sum(1), (e * e).sum(1) - r * r
    with np.errstate(divide="ignore", invalid="ignore"):
        at = (-b - np.sqrt(np.maximum(b * b - a * c, 0))) / a
        y = eye[:, 1] + at * rays[:, 1]
        good = (b * b > a * c) & (at > 0) & (y > low) & (y < high)
    at = np.where(good, at, np.inf)
    return at, _normals(eye, rays, at, lambda p: p * np.array([1, 0, 1], np.float32) / r)


def _cylinder(eye: np.ndarray, rays: np.ndarray, r: np.float32) -> tuple:
    radius, high = r * np.float32(0.9), r * np.float32(1.8)
    side = _tube(eye, rays, radius, np.float32(0), high)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = (high - eye[:, 1]) / rays[:, 1]
        x, z = eye[:, 0] + at * rays[:, 0], eye[:, 2] + at * rays[:, 2]
        at = np.where((at > 0) & (x * x + z * z < radius * radius), at, np.inf)
    lid = np.broadcast_to(np.array([0, 1, 0], np.float32), rays.shape)
    return _nearest(side, (at, lid))


def _capsule(eye: np.ndarray, rays: np.ndarray, r: np.float32) -> tuple:
    radius, high = r * np.float32(0.65), r * np.float32(2.0)
    parts = [_sphere(eye, rays, radius, radius), _sphere(eye, rays, radius, high - radius)]
    return _nearest(_tube(eye, rays, radius, radius, high - radius), _nearest(*parts))


SHAPES = [_cube, _cylinder, lambda eye, rays, r: _sphere(eye, rays, r * np.float32(0.95)), _capsule]


def _normals(eye: np.ndarray, rays: np.ndarray, at: np.ndarray, of_place: Callable) -> np.ndarray:
    hit = np.isfinite(at)[:, None]
    return np.where(hit, of_place(eye + np.where(hit, at[:, None], 0) * rays), 0).astype(np.float32)


def _nearest(one: tuple, two: tuple) -> tuple:
    """The nearer of two shapes, ray by ray."""
    first = one[0] <= two[0]
    return np.where(first, one[0], two[0]), np.where(first[:, None], one[1], two[1])
