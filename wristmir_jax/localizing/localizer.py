"""Finds the bone regions on films: looks at the whole film, then closer where the wrist is."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import nnx
from PIL import Image

from wristmir_jax.images.crops import letterbox
from wristmir_jax.learning.localizer_looks import close_fields
from wristmir_jax.models import parameters
from wristmir_jax.models.localizer import SIDES, VIEWS
from wristmir_jax.models.localizer import Localizer as Network
from wristmir_jax.models.localizer_file import LocalizerFile, read_localizer
from wristmir_jax.workers import available_cores

# Below this chance of being right a region counts as not found.
MIN_CONFIDENCE = 0.5
# Of how films are looked at: other answers from the same weights are of another localiser.
_LOOKING = 3
# Films that are looked at together; one shape, one compilation.
_BATCH = 16
_MOST_THREADS = 8
# Sides of the last looks, over those of the close looks that training draws: closer ones tell
# better whether a small region is there.
_CLOSE = (1.0, 0.8)
# A region this likely, of the likeliest one, helps to say where to look closer.
_HELPS = 0.3
# Logit of presence from which a look at a whole film is not followed by looks at its parts, and
# their side in longer sides of the film.
_SURE, _PART = 2.0, 0.6


@dataclass(frozen=True)
class Located:
    """What was found on one film. R regions in the order of `anatomy.REGIONS`.

    Attributes:
        boxes: float32 (R, 4), x0 y0 x1 y1 in pixels of the film: the hull of the region's upright
            box, turned as the wrist lies; NaN where the region was not found.
        confidence: float32 (R,), calibrated chance that the region is there and that its box
            overlaps the true one by an intersection over union of .5; also of what was refused.
        axis_degrees: by which the upright forearm is turned, counter-clockwise as seen, in (-180,
            180], 0 where the fingers point up; NaN where nothing was found.
        view, laterality: names in `anatomy`, "unknown" where nothing was found.
        view_confidence, laterality_confidence: in [0, 1].
    """

    boxes: np.ndarray
    confidence: np.ndarray
    axis_degrees: float
    view: str
    view_confidence: float
    laterality: str
    laterality_confidence: float


@dataclass(frozen=True)
class Frame:
    """A square look at a film.

    Attributes:
        x, y: its middle, in pixels of the film.
        side: in pixels of the film.
        axis: radians by which it is turned, counter-clockwise as seen.
        mirrored: whether it is seen in a mirror.
    """

    x: float
    y: float
    side: float
    axis: float = 0.0
    mirrored: bool = False

    def to_film(self, points: np.ndarray, size: int) -> np.ndarray:
        """From (..., 2) pixels of a look of `size` pixels a side to pixels of the film."""
        offset = (points - size / 2) * (self.side / size)
        if self.mirrored:
            offset = offset * np.array([-1.0, 1.0])
        return np.array([self.x, self.y]) + _turned(offset, self.axis)

    def boxes_to_film(
        self, center: np.ndarray, side: np.ndarray, axis: float, size: int
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Middle (..., 2), upright sides (..., 2) and axis of boxes in pixels of a look of `size`
        pixels a side to those in pixels of the film."""
        turn = -axis if self.mirrored else axis
        return self.to_film(center, size), side * (self.side / size), self.axis + turn


@dataclass(frozen=True)
class Finding:
    """What one look says of a film, in its pixels.

    Attributes:
        center_Rx2, side_Rx2: of the boxes, the sides in the upright frame.
        present_R: logits. place_R: share of the likeliest cell.
        axis: radians. axis_length: of the vector that says it, near 1 where it is sure.
        view_V, side_L: logits.
    """

    center_Rx2: np.ndarray
    side_Rx2: np.ndarray
    present_R: np.ndarray
    place_R: np.ndarray
    axis: float
    axis_length: float
    view_V: np.ndarray
    side_L: np.ndarray


@dataclass(frozen=True)
class FilmFindings:
    """What all looks at one film say.

    Attributes:
        whole: of the whole film, or of the part of it where a wrist is seen more surely.
        plain, mirrored: of close looks, and of their images in a mirror.
    """

    whole: Finding
    plain: tuple[Finding, ...]
    mirrored: tuple[Finding, ...]

    @property
    def close(self) -> tuple[Finding, ...]:
        return self.plain + self.mirrored


def _turned(offset: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = offset[..., 0], offset[..., 1]
    return np.stack([x * cos + y * sin, y * cos - x * sin], axis=-1)


def look_at(pixels: np.ndarray, frame: Frame, size: int) -> np.ndarray:
    """The square of `frame`, uint8 (size, size), black outside the film.

    Args:
        pixels: uint8 (H, W).
        frame: where to look.
        size: pixels a side.
    """
    step = frame.side / size
    reduced = max(1, int(step / 1.2))
    image = Image.fromarray(pixels)
    if reduced > 1:
        image = image.reduce(reduced)
    sign = -1.0 if frame.mirrored else 1.0
    across = _turned(np.array([sign * step, 0.0]), frame.axis)
    down = _turned(np.array([0.0, step]), frame.axis)
    corner = np.array([frame.x, frame.y]) - size / 2 * (across + down)
    # Pillow counts both from the middle of pixels by itself.
    rows = np.stack([across, down, corner], axis=1) / reduced
    return np.asarray(
        image.transform(
            (size, size),
            Image.Transform.AFFINE,
            tuple(rows.ravel()),
            resample=Image.Resampling.BILINEAR,
        )
    )


class Localizer:
    """The network with its calibration, ready to be asked.

    Args:
        file: of `models.localizer_file`.

    Attributes:
        regions: R names.
        fingerprint: 16 hex digits that tell it from others.
    """

    def __init__(self, file: LocalizerFile):
        self.regions = file.regions
        self._size = file.spec.size
        self._fields_R = close_fields(file.regions)
        self._calibration = file.calibration
        graph, shapes = nnx.split(
            nnx.eval_shape(lambda: Network(file.spec, rngs=nnx.Rngs(0))), nnx.Param
        )
        del shapes
        self._params = jax.device_put(dict(file.parameters))
        # On a CPU a batch is computed in one thread.
        self._threads = ThreadPoolExecutor(min(available_cores(), _MOST_THREADS), "localizer")
        self._forward = jax.jit(
            lambda params, image: _outputs(parameters.merge(graph, params)(image / 255))
        )
        digest = hashlib.blake2b(str(_LOOKING).encode(), digest_size=8)
        for name, value in sorted(file.parameters.items()):
            digest.update(name.encode())
            digest.update(value.tobytes())
        digest.update(
            repr(None if self._calibration is None else self._calibration.tolist()).encode()
        )
        self.fingerprint = digest.hexdigest()

    @classmethod
    def load(cls, path: epath.PathLike | None = None) -> "Localizer":
        """From a file; None takes the package's own.

        Raises:
            UserError: as of `models.localizer_file.read_localizer`.
        """
        return cls(read_localizer(path))

    def locate(self, films: Sequence[np.ndarray]) -> list[Located]:
        """Find the regions on films.

        Args:
            films: each (H, W), bone bright: float32 in [0, 1] as `images.reading.window` gives
                them, or the same as uint8. Sides above 700 pixels gain nothing.
        """
        return [self.located(looks) for looks in self.look(films)]

    def look(self, films: Sequence[np.ndarray]) -> list[FilmFindings]:
        """What the looks at each film say."""
        pixels = [_bytes_of(film) for film in films]
        size = self._size
        whole = [
            Frame(film.shape[1] / 2, film.shape[0] / 2, float(max(film.shape))) for film in pixels
        ]
        squares = [letterbox(film.astype(np.float32) / 255, size) for film in pixels]
        first = self._findings(squares, whole)
        self._look_at_parts(pixels, first)
        frames = [self._closer(finding) for finding in first]
        second = self._findings(
            [look_at(film, frame, size) for film, frame in zip(pixels, frames, strict=True)], frames
        )
        closest = [
            (film, replace(frame, side=share * frame.side, mirrored=mirrored))
            for film, frame in zip(pixels, map(self._closer, second), strict=True)
            for share in _CLOSE
            for mirrored in (False, True)
        ]
        close = self._findings(
            [look_at(film, frame, size) for film, frame in closest],
            [frame for _, frame in closest],
        )
        each = 2 * len(_CLOSE)
        return [
            FilmFindings(whole, tuple(close[place * each : (place + 1) * each : 2]),
                  tuple(close[place * each + 1 : (place + 1) * each : 2]))
            for place, whole in enumerate(first)
        ]  # fmt: skip

    def confidence(self, looks: FilmFindings) -> np.ndarray:
        """(R,) calibrated chance that each region is there and its box right."""
        evidence_RxE = evidence(looks)
        if self._calibration is None:
            return _sigmoid(evidence_RxE[:, 0])
        weights = self._calibration
        return _sigmoid(weights[:, 0] + (weights[:, 1:] * evidence_RxE).sum(axis=1))

    def boxes(self, looks: FilmFindings) -> tuple[np.ndarray, float]:
        """Hulls (R, 4) of all regions, found or not, and the axis in radians."""
        center_Rx2, side_Rx2, axis = self.upright(looks)
        return hulls(center_Rx2, side_Rx2, axis), axis

    def upright(self, looks: FilmFindings) -> tuple[np.ndarray, np.ndarray, float]:
        """Middle (R, 2) and upright sides (R, 2) of all boxes, and the axis in radians."""
        # The first pair is the least close, and tells best where a region ends.
        plain, mirrored = looks.plain[0], looks.mirrored[0]
        axis = plain.axis + 0.5 * wrapped(mirrored.axis - plain.axis)
        center_Rx2 = 0.5 * (plain.center_Rx2 + mirrored.center_Rx2)
        side_Rx2 = np.sqrt(plain.side_Rx2 * mirrored.side_Rx2)
        return center_Rx2, side_Rx2, axis

    def located(self, looks: FilmFindings) -> Located:
        """What is said of a film after its looks."""
        confidence_R = self.confidence(looks).astype(np.float32)
        boxes_Rx4, axis = self.boxes(looks)
        found_R = confidence_R >= MIN_CONFIDENCE
        pairs = len(looks.plain)
        view_V = _softmax(np.sum([look.view_V for look in looks.close], axis=0) / pairs)
        # In the mirror a left wrist looks like a right one.
        sides = [look.side_L for look in looks.plain]
        sides += [look.side_L[::-1] for look in looks.mirrored]
        side_L = _softmax(np.sum(sides, axis=0) / pairs)
        some = bool(found_R.any())
        return Located(
            boxes=np.where(found_R[:, None], boxes_Rx4, np.nan).astype(np.float32),
            confidence=confidence_R,
            axis_degrees=float(np.rad2deg(wrapped(axis))) if some else float("nan"),
            view=VIEWS[int(view_V.argmax())] if some else "unknown",
            view_confidence=float(view_V.max()),
            laterality=SIDES[int(side_L.argmax())] if some else "unknown",
            laterality_confidence=float(side_L.max()),
        )

    def _look_at_parts(self, pixels: list[np.ndarray], first: list[Finding]) -> None:
        """Replaces looks at whole films that saw no wrist for sure by the look at a part of the
        film that sees the most: a wrist that is small on the film is larger there."""
        doubtful = [place for place, look in enumerate(first) if look.present_R.max() < _SURE]
        frames = [(place, frame) for place in doubtful for frame in parts(*pixels[place].shape)]
        found = self._findings(
            [look_at(pixels[place], frame, self._size) for place, frame in frames],
            [frame for _, frame in frames],
        )
        for (place, _), look in zip(frames, found, strict=True):
            if _seen(look) > _seen(first[place]):
                first[place] = look

    def _closer(self, finding: Finding) -> Frame:
        """Where to look closer, as the training does (`learning.localizer_looks`)."""
        chance_R = _sigmoid(finding.present_R)
        weight_R = chance_R * (chance_R >= _HELPS * chance_R.max())
        weight_R = weight_R / weight_R.sum()
        x, y = weight_R @ finding.center_Rx2
        side = float(weight_R @ (self._fields_R * finding.side_Rx2.max(axis=1)))
        return Frame(float(x), float(y), max(side, 8.0), finding.axis)

    def _findings(self, squares: Sequence[np.ndarray], frames: Sequence[Frame]) -> list[Finding]:
        found: list[Finding] = []
        starts = range(0, len(squares), _BATCH)
        for start, outputs in zip(
            starts,
            self._threads.map(lambda start: self._outputs(squares[start : start + _BATCH]), starts),
            strict=True,
        ):
            for row, frame in enumerate(frames[start : start + _BATCH]):
                said = {name: values[row] for name, values in outputs.items()}
                found.append(_in_film(said, frame, self._size))
        return found

    def _outputs(self, squares: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What the network says of one batch, filled up to the one shape that is compiled."""
        filled = np.stack([*squares, *[squares[-1]] * (_BATCH - len(squares))])
        return jax.device_get(self._forward(self._params, filled))


def parts(height: int, width: int, share: float = _PART, more: int = 0) -> list[Frame]:
    """Squares that cover a film of such a size, each of `share` of its longer side; in a row `more`
    than are needed."""
    side = share * float(max(height, width))
    rows, columns = (_places(length, side, more) for length in (height, width))
    return [Frame(x, y, side) for y in rows for x in columns]


def _places(length: int, side: float, more: int) -> list[float]:
    """Middles of parts of `side` that cover a length."""
    if length <= side:
        return [length / 2]
    return list(np.linspace(side / 2, length - side / 2, int(np.ceil(length / side)) + more))


def _seen(look: Finding) -> float:
    """Of how many regions it is said that they are there, so that one alone, which may be
    anything, counts less than a whole wrist."""
    return float(_sigmoid(look.present_R).sum())


def _outputs(sight: Any) -> dict[str, jax.Array]:
    logits = sight.place_BxRxKxK.reshape(*sight.present_BxR.shape, -1)
    return {
        "center": sight.center_BxRx2,
        "log_side": sight.log_side_BxRx2,
        "present": sight.present_BxR,
        "place": jax.nn.softmax(logits, axis=-1).max(axis=-1),
        "axis": sight.axis_Bx2,
        "view": sight.view_BxV,
        "side": sight.side_BxL,
    }


def _in_film(said: dict[str, np.ndarray], frame: Frame, size: int) -> Finding:
    center_Rx2, side_Rx2, axis = frame.boxes_to_film(
        said["center"].astype(np.float64),
        np.exp(said["log_side"].astype(np.float64)),
        float(np.arctan2(said["axis"][1], said["axis"][0])),
        size,
    )
    return Finding(
        center_Rx2=center_Rx2,
        side_Rx2=side_Rx2,
        present_R=said["present"].astype(np.float64),
        place_R=said["place"].astype(np.float64),
        axis=axis,
        axis_length=float(np.hypot(*said["axis"])),
        view_V=said["view"].astype(np.float64),
        side_L=said["side"].astype(np.float64),
    )


def evidence(looks: FilmFindings) -> np.ndarray:
    """(R, NUM_EVIDENCE) what speaks for each region: logit of its presence, mean of the close looks
    and of the whole film; logarithm of how narrow its place is; how well close looks agree with
    their mirror images, and with the look at the whole film, as the logit of how boxes overlap."""
    whole, *plain = (
        hulls(look.center_Rx2, look.side_Rx2, 0.0) for look in (looks.whole, *looks.plain)
    )
    mirrored = [hulls(look.center_Rx2, look.side_Rx2, 0.0) for look in looks.mirrored]
    place_R = np.mean([look.place_R for look in looks.close], axis=0)
    agree_R = np.mean([overlap(*pair) for pair in zip(plain, mirrored, strict=True)], axis=0)
    return np.stack(
        [
            np.clip(np.mean([look.present_R for look in looks.close], axis=0), -8, 8),
            np.clip(looks.whole.present_R, -8, 8),
            np.log(np.maximum(place_R, 1e-4)),
            _logit(agree_R),
            _logit(overlap(whole, plain[0])),
        ],
        axis=1,
    )


def hulls(center_Rx2: np.ndarray, side_Rx2: np.ndarray, axis: float) -> np.ndarray:
    """(R, 4) x0 y0 x1 y1 of upright boxes turned by `axis` radians."""
    c, s = abs(np.cos(axis)), abs(np.sin(axis))
    half_Rx2 = 0.5 * side_Rx2 @ np.array([[c, s], [s, c]])
    return np.concatenate([center_Rx2 - half_Rx2, center_Rx2 + half_Rx2], axis=1)


def overlap(a_Nx4: np.ndarray, b_Nx4: np.ndarray) -> np.ndarray:
    """(N,) intersection over union of boxes x0 y0 x1 y1; NaN where one is."""
    low = np.maximum(a_Nx4[:, :2], b_Nx4[:, :2])
    high = np.minimum(a_Nx4[:, 2:], b_Nx4[:, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a_Nx4, b_Nx4)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)


def _bytes_of(film: np.ndarray) -> np.ndarray:
    if film.dtype == np.uint8:
        return film
    return np.round(np.clip(film, 0.0, 1.0) * 255).astype(np.uint8)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _logit(share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0.02, 0.98)
    return np.log(share / (1 - share))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def wrapped(angle: Any) -> Any:
    """Radians, a number or an array, into (-pi, pi]."""
    return np.pi - (np.pi - angle) % (2 * np.pi)
