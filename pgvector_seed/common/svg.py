"""Pictures as SVG: light and dark by the viewer's preference, without scripts, fonts or anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

# The colors are classes, so that a picture says what a mark is and not how it looks.
_STYLE = """
svg { background: #ffffff; font: 13px system-ui, sans-serif; fill: #1f2328 }
.quiet { fill: #59636e } .grid { stroke: #d1d9e0 } .axis { stroke: #59636e }
.first { stroke: #0969da } .second { stroke: #bc4c00 } .line { fill: none; stroke-width: 2 }
.first-mark { fill: #0969da } .second-mark { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; fill: #f0f6fc }
  .quiet { fill: #9198a1 } .grid { stroke: #3d444d } .axis { stroke: #9198a1 }
  .first { stroke: #4493f8 } .second { stroke: #f0883e }
  .first-mark { fill: #4493f8 } .second-mark { fill: #f0883e }
}
"""
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def escaped(text: str) -> str:
    """Return a text for SVG, between tags or in an attribute."""
    return text.translate(_ESCAPED)


def element(name: str, content: str = "", **attributes: str | float) -> str:
    """Return an element. ``content`` is SVG. An attribute class_ is written as class, text_anchor as text-anchor."""
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value if isinstance(value, str) else f"{value:g}")}"'
        for key, value in attributes.items()
    )
    return f"<{name}{''.join(pairs)}>{content}</{name}>"


def label(x: float, y: float, text: str, **attributes: str | float) -> str:
    """Return a text at a place."""
    return element("text", escaped(text), x=x, y=y, **attributes)


def document(width: int, height: int, title: str, body: Iterable[str]) -> str:
    """Return a picture of that many pixels, which scales with its page. ``title`` is read out instead of it."""
    content = [element("title", escaped(title)), element("style", _STYLE), *body]
    return element(
        "svg",
        "\n".join(content),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        role="img",
        style=f"max-width: {width}px",
    )
