"""The parameters of pgvector's access methods. Other methods have parameters that only the server knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pgvector_seed.common.text import did_you_mean

# Least and most. Source: HNSW_MIN_M and the others in pgvector's src/hnsw.h and src/ivfflat.h.
RANGES: dict[str, dict[str, tuple[int, int]]] = {
    "hnsw": {"m": (2, 100), "ef_construction": (4, 1000)},
    "ivfflat": {"lists": (1, 32768)},
}
_DEFAULT_M, _DEFAULT_EF_CONSTRUCTION = 16, 64


def faults_of_parameters(method: str, parameters: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield each parameter that the method does not take, or not with this value, and the fault."""
    ranges = RANGES.get(method)
    if ranges is None:
        return
    for name, value in parameters.items():
        if name not in ranges:
            yield name, f"{method} has no parameter {name}{did_you_mean(name, ranges)}"
        elif type(value) is not int or not ranges[name][0] <= value <= ranges[name][1]:
            yield name, f"{name} must be an integer from {ranges[name][0]} to {ranges[name][1]}"
    if method == "hnsw":
        yield from _faults_of_width(parameters.get("m", _DEFAULT_M), parameters.get("ef_construction"))


def _faults_of_width(m: object, width: object) -> Iterator[tuple[str, str]]:
    width = _DEFAULT_EF_CONSTRUCTION if width is None else width
    if type(m) is int and type(width) is int and 0 < width < 2 * m <= 200:
        yield "ef_construction", f"ef_construction must be at least twice m, which is {m}"
