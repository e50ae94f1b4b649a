"""The curve of recall against the time of a query, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pgvector_seed.common.svg import document, element, label
from pgvector_seed.common.text import printable
from pgvector_seed.data.tuning import Level, Tuning

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 690, 56, 380  # of the field, in pixels
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_MOST_TICKS = 6
_LABEL = 32  # the width of a label, and more than its height


class _Axes:
    """The scales: the logarithm of milliseconds, and recall up to 1."""

    def __init__(self, tuning: Tuning) -> None:
        times = [level.measured.p50 for level in tuning.levels]
        self.first, self.last = min(times) / 1.25, max(times) * 1.25
        lowest = min(tuning.subject.target, *(level.measured.recall.low for level in tuning.levels))
        self.step = next((step for step in _STEPS if (1 - lowest) / step <= _MOST_TICKS), _STEPS[-1])
        self.low = min(1 - self.step, math.floor(round(lowest / self.step, 6)) * self.step)

    def x(self, milliseconds: float) -> float:
        share = math.log(milliseconds / self.first) / math.log(self.last / self.first)
        return round(LEFT + share * (RIGHT - LEFT), 1)

    def y(self, recall: float) -> float:
        return round(BOTTOM - (recall - self.low) / (1 - self.low) * (BOTTOM - TOP), 1)

    def ticks_x(self) -> list[float]:
        """Return 1, 2 and 5 times the powers of 10 in the field, or nearer values if it has too few of them."""
        powers = [10.0**power for power in range(math.floor(math.log10(self.first)), 6)]
        for factors in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), [1 + tenth / 10 for tenth in range(90)]):
            ticks = [
                factor * power for power in powers for factor in factors if self.first < factor * power < self.last
            ]
            if len(ticks) > 2:
                break
        return ticks[:: math.ceil(len(ticks) / 10)]

    def ticks_y(self) -> list[float]:
        return [self.low + number * self.step for number in range(round((1 - self.low) / self.step) + 1)]


def picture(tuning: Tuning) -> str:
    """Return the picture. It has no curve if there is only one level."""
    subject = tuning.subject
    search = subject.search
    title = f"recall@{subject.k} of {search.target.shown} ({search.column.name}), {search.column.metric}"
    below = f"{subject.index.method} {subject.index.shown}; {subject.index.setting or 'as it is'}; 99 % intervals"
    body = [label(LEFT, 24, printable(title), font_weight="bold"), label(LEFT, 42, printable(below), class_="quiet")]
    if tuning.levels:
        body += _field(tuning, _Axes(tuning))
    return document(WIDTH, HEIGHT, printable(title), body)


def _field(tuning: Tuning, axes: _Axes) -> Iterator[str]:
    yield from _grid(axes)
    target = axes.y(tuning.subject.target)
    yield _line(LEFT, target, RIGHT, target, "second", dash="6 4")
    yield label(LEFT + 6, target - 5, f"target {tuning.subject.target:g}", class_="second-mark")
    points = " ".join(
        f"{axes.x(level.measured.p50):g},{axes.y(level.measured.recall.mean):g}" for level in tuning.levels
    )
    yield element("polyline", points=points, class_="first line")
    places: list[tuple[float, float]] = []
    for level in tuning.levels:
        place = axes.x(level.measured.p50), axes.y(level.measured.recall.mean)
        # Of close points, every second label is above.
        is_close = bool(places) and abs(place[0] - places[-1][0]) < _LABEL and abs(place[1] - places[-1][1]) < _LABEL
        if not is_close:
            places.append(place)
        else:
            places.clear()
        yield from _point(level, axes, place, above=is_close, is_recommended=level is tuning.recommended)


def _grid(axes: _Axes) -> Iterator[str]:
    for recall in axes.ticks_y():
        y = axes.y(recall)
        yield _line(LEFT, y, RIGHT, y, "grid")
        yield label(LEFT - 8, y + 4, f"{recall:.3f}".rstrip("0").rstrip("."), class_="quiet", text_anchor="end")
    for time in axes.ticks_x():
        x = axes.x(time)
        yield _line(x, BOTTOM, x, BOTTOM + 5, "axis")
        yield label(x, BOTTOM + 20, f"{time:g}", class_="quiet", text_anchor="middle")
    yield _line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis")
    middle = (LEFT + RIGHT) / 2
    yield label(middle, BOTTOM + 44, "median time of a query in ms, logarithmic", class_="quiet", text_anchor="middle")
    yield label(16, (TOP + BOTTOM) / 2, "recall", class_="quiet", text_anchor="middle", transform=_turned())


def _turned() -> str:
    return f"rotate(-90 16 {(TOP + BOTTOM) / 2:g})"


def _point(
    level: Level, axes: _Axes, place: tuple[float, float], *, above: bool, is_recommended: bool
) -> Iterator[str]:
    """Yield the interval as a bar, the mean as a dot, and the value of the setting."""
    recall, color = level.measured.recall, "second" if is_recommended else "first"
    x, y = place
    yield _line(x, axes.y(recall.low), x, axes.y(recall.high), color)
    yield element("circle", cx=x, cy=y, r=6 if is_recommended else 4, class_=f"{color}-mark")
    text = "" if level.value is None else str(level.value)
    words = f"{text} recommended" if is_recommended else text
    weight = "bold" if is_recommended else "normal"
    is_left = is_recommended or x > RIGHT - _LABEL  # the curve rises to the right: there is room on its upper left
    side = {"text_anchor": "end"} if is_left else {}
    above = above or is_recommended
    yield label(x + (-9 if is_left else 9), y + (-8 if above else 16), words.strip(), font_weight=weight, **side)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str, dash: str = "none") -> str:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_, stroke_dasharray=dash)
