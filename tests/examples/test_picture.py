"""The picture of examples/words: its geometry, its labels, and docs/words.svg, which was drawn by it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from examples.words.picture import HEIGHT, PAIRS, SUMS, WIDTH, Array, Label, page, picture, place, project
from local.workspace import ROOT
from pgvector_seed.data.answer import Neighbor

COMMITTED = (ROOT / "docs" / "words.svg").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
ANSWERS = {sum_: [Neighbor(7, 0.125, {"word": "a<b"}), Neighbor(8, 0.25, {"word": "c"})] for sum_ in SUMS}


def parallel_pairs(count: int = 8, dimensions: int = 50) -> Array:
    """Return pairs with a common difference and noise, count x 2 x dimensions."""
    random = np.random.default_rng(1)
    first = random.normal(size=(count, dimensions)) * np.linspace(3, 0.3, dimensions)
    difference = random.normal(size=dimensions)
    return np.stack([first, first + difference + 0.1 * random.normal(size=(count, dimensions))], axis=1)


def test_the_first_axis_is_the_mean_difference_and_the_second_the_main_direction_of_the_rest() -> None:
    """The projection keeps all of the mean difference, and no direction without it has more variance."""
    vectors = parallel_pairs()
    points = project(vectors)
    mean = (vectors[:, 1] - vectors[:, 0]).mean(axis=0)
    assert (points[:, 1] - points[:, 0]).mean(axis=0) == pytest.approx([np.linalg.norm(mean), 0], abs=1e-9)
    unit = mean / np.linalg.norm(mean)
    centered = (vectors - vectors.mean(axis=(0, 1))).reshape(-1, vectors.shape[2])
    rest = centered - np.outer(centered @ unit, unit)
    largest = np.linalg.eigvalsh(rest.T @ rest)[-1]
    assert (points[..., 1] ** 2).sum() == pytest.approx(largest)
    assert points[0, :, 1].sum() > 0, "the first pair is above"


def test_every_point_is_within_the_margins() -> None:
    pixels = place(project(parallel_pairs()))
    assert pixels.min() >= 0
    assert (pixels <= (WIDTH, HEIGHT)).all()


def texts(svg: str) -> list[Label]:
    """Return the labels of a picture, without the names of the axes, which are at its lower edge."""
    elements = ET.fromstring(svg).iter(f"{SVG}text")  # noqa: S314  # our own file
    return [
        Label(float(one.attrib["x"]), float(one.attrib["y"]), one.text or "", one.attrib["text-anchor"])
        for one in elements
        if one.get("class") != "quiet"
    ]


def test_the_committed_picture_has_every_word_and_an_arrow_for_each_pair() -> None:
    """It has the elements that the code draws; its coordinates are those of the real vectors."""
    drawn = picture(parallel_pairs())
    tags = [re.findall(r"<(\w+)", svg) for svg in (COMMITTED, drawn)]
    assert sorted(tags[0]) == sorted(tags[1])
    assert {one.text for one in texts(COMMITTED)} == {word for pair in PAIRS for word in pair} | {SUMS[0]}
    assert COMMITTED.count("<polygon") == len(PAIRS)
    style = re.search(r"<style>.*</style>", drawn, re.DOTALL)
    assert style is not None
    assert style[0] in COMMITTED, "draw docs/words.svg again: make words; cp .local/words/words.svg docs"


def test_no_label_of_the_committed_picture_meets_another_or_an_arrow() -> None:
    """By estimated boxes, which are wider than the letters of usual fonts."""
    labels = texts(COMMITTED)
    boxes = [one.box for one in labels]
    meeting = [(a.text, b.text) for a, b in combinations(labels, 2) if overlaps(a.box, b.box)]
    assert meeting == []
    assert min(left for left, _, _, _ in boxes) >= 20, "the vertical axis"
    assert max(right for _, _, right, _ in boxes) <= WIDTH
    crossed = [(one.text, point) for one in labels for point in points_on_arrows(COMMITTED) if holds(one.box, point)]
    assert crossed == []


def overlaps(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def holds(box: tuple[float, ...], point: tuple[float, float]) -> bool:
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]


def points_on_arrows(svg: str) -> Iterator[tuple[float, float]]:
    """Yield points of the arrows, a few pixels apart."""
    for line in ET.fromstring(svg).iter(f"{SVG}line"):  # noqa: S314  # our own file
        if line.get("class") != "axis":
            x1, y1, x2, y2 = (float(line.attrib[name]) for name in ("x1", "y1", "x2", "y2"))
            for part in np.linspace(0, 1, 200):
                yield float(x1 + part * (x2 - x1)), float(y1 + part * (y2 - y1))


def test_the_page_needs_nothing_from_elsewhere_and_escapes_its_words() -> None:
    """It has no script and no address but the name space of SVG, both color schemes, and the distances."""
    html = page(picture(parallel_pairs()), ANSWERS, 100_000)
    for text in (html, COMMITTED):
        assert "<script" not in text
        assert re.findall(r"https?://[^\"' <]*", text) == ["http://www.w3.org/2000/svg"]
        assert not re.search(r"url\(|@import|\bsrc=|\bhref=", text)
        assert "prefers-color-scheme: dark" in text
    assert "a&lt;b <small>0.125</small>" in html
    assert "100,000 most frequent words" in html
    assert "{" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.rest
def test_a_browser_opens_the_page(tmp_path: Path) -> None:
    """Chromium reads the page, and takes a screenshot of it that is not empty. REQUIRE_CHROMIUM=1 fails without it."""
    if CHROMIUM is None:
        assert os.environ.get("REQUIRE_CHROMIUM") != "1", "there is no chromium on PATH"
        pytest.skip("there is no chromium on PATH")
    html, screenshot = tmp_path / "words.html", tmp_path / "words.png"
    html.write_text(page(picture(parallel_pairs()), ANSWERS, 100_000), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    dump = subprocess.run(
        [*command, "--dump-dom", html.as_uri()], capture_output=True, text=True, check=True, timeout=60
    )
    assert dump.stdout.count("<polygon") == len(PAIRS)
    subprocess.run([*command, f"--screenshot={screenshot}", html.as_uri()], capture_output=True, check=True, timeout=60)
    assert screenshot.read_bytes().startswith(b"\x89PNG")
    assert screenshot.stat().st_size > 10_000
