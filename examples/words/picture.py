"""Draw word pairs as arrows: python -m examples.words.picture FOLDER writes words.svg and words.html.

The vectors come from the table words, by libpq's connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import psycopg

from pgvector_seed import nearest
from pgvector_seed.common.console import run
from pgvector_seed.common.files import write
from pgvector_seed.common.svg import document, element, escaped, label
from pgvector_seed.data.answer import Neighbor
from pgvector_seed.data.sums import parse_sum
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.errors import translated

Array = npt.NDArray[np.float64]

# The first two are the sum's. Not every pair is parallel: uncle - man + woman gives daughter, and aunt only later.
PAIRS = (
    ("king", "queen"),
    ("man", "woman"),
    ("emperor", "empress"),
    ("uncle", "aunt"),
    ("brother", "sister"),
    ("hero", "heroine"),
    ("he", "she"),
    ("actor", "actress"),
)
SUMS = ("king - man + woman", "paris - france + germany")
TITLE = "king - man + woman = queen"
CAPTION = (
    "Across: the mean difference of the pairs. Up: the first principal component of what is left "
    "after that direction is removed."
)
WIDTH, HEIGHT = 700, 460  # pixels
LEFT, RIGHT, TOP, BOTTOM = 120, 90, 28, 64  # margins, which have the labels and the names of the axes
CHARACTER, LINE = 7.6, 16.0  # pixels: at most, of an average letter and a line of the font in common/svg.py
GAP = 7.0  # pixels between an arrow and its label

_VECTORS = "SELECT word, embedding::pg_catalog.float4[] FROM public.words WHERE word OPERATOR(pg_catalog.=) ANY (%s)"


@dataclass(frozen=True)
class Label:
    """A text at a point. ``anchor`` is SVG's text-anchor: start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The estimated left, top, right and bottom, in pixels."""
        width = CHARACTER * len(self.text)
        left = self.x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor]
        return left, self.y - LINE / 2, left + width, self.y + LINE / 2


def project(vectors: Array) -> Array:
    """Return pairs x 2 x 2 coordinates of pairs x 2 x dimensions vectors.

    The first coordinate is along the mean difference of the pairs, the second along the first principal component of
    the rest, upwards for the first pair.
    """
    across = (vectors[:, 1] - vectors[:, 0]).mean(axis=0)
    across /= np.linalg.norm(across)
    centered = vectors - vectors.mean(axis=(0, 1))
    x = centered @ across
    rest = (centered - x[..., None] * across).reshape(-1, vectors.shape[2])
    up = np.linalg.svd(rest, full_matrices=False)[2][0]
    y = (rest @ up).reshape(x.shape)
    return np.stack([x, y * np.sign(y[0].sum())], axis=2)


def place(points: Array) -> Array:
    """Return the coordinates in pixels, with one scale for each axis."""
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    x, y = np.moveaxis((points - low) / (high - low), 2, 0)
    return np.stack([LEFT + x * (WIDTH - LEFT - RIGHT), TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)], axis=2)


def labels(pixels: Array, pairs: Sequence[tuple[str, str]]) -> Iterator[Label]:
    """Yield the labels: the first word of a pair to the left of its arrow, the second to the right; the sum above."""
    for (start, end), (first, second) in zip(pixels, pairs, strict=True):
        yield Label(start[0] - GAP, start[1], first, "end")
        yield Label(end[0] + GAP, end[1], second, "start")
    x, y = sum_of(pixels)
    yield Label(x, y - GAP - LINE / 2, SUMS[0], "middle")


def sum_of(pixels: Array) -> Array:
    """Return the point of the first pair's first word, moved as the second pair's arrow: king - man + woman."""
    (king, _), (man, woman) = pixels[:2]
    moved: Array = king - man + woman
    return moved


def picture(vectors: Array, pairs: Sequence[tuple[str, str]] = PAIRS) -> str:
    """Return the SVG of word pairs; ``vectors`` are pairs x 2 x dimensions."""
    pixels = place(project(vectors))
    arrows = (_arrow(start, end, highlighted=number < 2) for number, (start, end) in enumerate(pixels))
    texts = (_text(one) for one in labels(pixels, pairs))
    return document(WIDTH, HEIGHT, TITLE, [*_axes(), _sum(pixels), *arrows, *texts])


def _text(one: Label) -> str:
    return label(round(one.x, 1), round(one.y, 1), one.text, text_anchor=one.anchor, dominant_baseline="central")


def _sum(pixels: Array) -> str:
    """Return the way from king to king - man + woman, dashed."""
    (x1, y1), (x2, y2) = np.round(pixels[0, 0], 1), np.round(sum_of(pixels), 1)
    line = element("line", class_="line second", stroke_dasharray="4 4", x1=x1, y1=y1, x2=x2, y2=y2)
    return line + element("circle", class_="second-mark", cx=x2, cy=y2, r=4)


def _arrow(start: Array, end: Array, *, highlighted: bool) -> str:
    kind = "second" if highlighted else "first"
    along = (end - start) / np.linalg.norm(end - start)
    aside = np.array([-along[1], along[0]])
    neck = end - 9 * along
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (end, neck + 4 * aside, neck - 4 * aside))
    (x1, y1), (x2, y2) = np.round(start, 1), np.round(neck, 1)
    line = element("line", class_=f"line {kind}", x1=x1, y1=y1, x2=x2, y2=y2)
    return line + element("polygon", class_=f"{kind}-mark", points=corners)


def _axes() -> Iterator[str]:
    left, bottom = 20, HEIGHT - 36
    yield element("line", class_="axis", x1=left, y1=bottom, x2=WIDTH - 20, y2=bottom)
    yield element("line", class_="axis", x1=left, y1=bottom, x2=left, y2=TOP)
    yield label(WIDTH - 20, bottom + 20, "mean difference of the pairs →", class_="quiet", text_anchor="end")
    yield label(left, bottom + 20, "↑ first principal component of what is left", class_="quiet")


def fetch_vectors(connection: psycopg.Connection[Any], words: Sequence[str]) -> dict[str, Array]:
    """Return the vectors of words."""
    rows = connection.execute(_VECTORS, (list(words),)).fetchall()
    return {word: np.array(values, dtype=np.float64) for word, values in rows}


def nearest_to_sum(connection: psycopg.Connection[Any], sum_: str, k: int = 3) -> list[Neighbor]:
    """Return the words that are nearest to a sum such as "king - man + woman", without its own words."""
    terms = parse_sum(sum_)
    words = [term.word for term in terms]
    vectors = fetch_vectors(connection, words)
    total = np.sum([term.sign * vectors[term.word] for term in terms], axis=0)
    others = "word <> ALL ($1::text[])"
    return nearest(connection, "words", total, k=k, where=others, values=[words], exact_fallback=True)


def page(svg: str, answers: Mapping[str, Sequence[Neighbor]], words: int) -> str:
    """Return the HTML page with the picture and the answers. ``words`` is the number of rows of the table."""
    return _PAGE.format(
        title=escaped(TITLE),
        svg=svg,
        caption=escaped(CAPTION),
        answers="\n".join(_answer(sum_, neighbors) for sum_, neighbors in answers.items()),
        words=f"{words:,}",
    )


def _answer(sum_: str, neighbors: Sequence[Neighbor]) -> str:
    cells = (f"<td>{escaped(one.columns['word'])} <small>{one.distance:.3f}</small></td>" for one in neighbors)
    return f"<tr><th scope='row'>{escaped(sum_)}</th>{''.join(cells)}</tr>"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ max-width: 700px; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  background: #ffffff; color: #1f2328 }}
figure {{ margin: 0 }} figcaption, small {{ color: #59636e }} small {{ font-variant-numeric: tabular-nums }}
table {{ border-collapse: collapse; margin: 1.5rem 0; width: 100% }}
th, td {{ text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #d1d9e0; font-weight: normal }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #0d1117; color: #f0f6fc }} figcaption, small {{ color: #9198a1 }}
  th, td {{ border-color: #3d444d }}
}}
</style>
</head>
<body>
<h1>{title}</h1>
<figure>
{svg}
<figcaption>{caption}</figcaption>
</figure>
<table>
<thead><tr><th scope="col">sum</th><th scope="col" colspan="3">nearest words, cosine distances</th></tr></thead>
<tbody>
{answers}
</tbody>
</table>
<p>The vectors are GloVe's, of 50 dimensions, for the {words} most frequent words of Wikipedia 2014 and Gigaword 5.
The sums are of the stored vectors, and the answers are those of pgvector's HNSW index, without the words of the sum.
The picture shows two directions of the 50, chosen for these pairs, so its distances are not those of the answers. The
dot is where king - man + woman comes to lie in it.</p>
</body>
</html>
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def cli(folder: Path) -> None:
    """Write words.svg and words.html to FOLDER."""
    with connect() as connection, translated("reading the words"):
        vectors = fetch_vectors(connection, [word for pair in PAIRS for word in pair])
        svg = picture(np.array([[vectors[word] for word in pair] for pair in PAIRS]))
        answers = {sum_: nearest_to_sum(connection, sum_) for sum_ in SUMS}
        (words,) = connection.execute("SELECT count(*) FROM public.words").fetchone() or (0,)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"words.svg": svg, "words.html": page(svg, answers, words)}.items():
        write(folder / name, text, mode=0o644)
        print(folder / name)


if __name__ == "__main__":
    run("__main__")
