"""The key ``index`` of a table's declaration: a map or a list of maps, each with a method and its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pgvector_seed.common.text import fault_of_text, nearest, printable
from pgvector_seed.infra.validation import path_of, remove_at, set_at, shown
from pgvector_seed.migrate.contract import IndexDeclaration
from pgvector_seed.vectors.index.definition import LONGEST_NAME
from pgvector_seed.vectors.index.parameters import RANGES, faults_of_parameters
from pgvector_seed.vectors.settings import fault_of_value

# The valid values of each key; every other key is a parameter of the method.
_KEYS = {
    "method": "the name of an access method, such as hnsw",
    "name": f"text of at most {LONGEST_NAME} bytes",
    "column": "the name of a column",
    "as": "halfvec",
    "bits": "true or false",
}
_USUAL = {"m": 16, "ef_construction": 64, "lists": 100}
_EXAMPLES = {"method": "hnsw", "column": "embedding", "as": "halfvec", "bits": "true"}
_EXAMPLE = "{method: hnsw, m: 16}"


def indexes_of(value: Any) -> list[dict[str, Any]]:
    """Return a valid value of the key as the declaration has it: the parameters of each index in a map of their own."""
    indexes = value if isinstance(value, Sequence) else [value]
    return [
        {key: index[key] for key in _KEYS if key in index}
        | {"parameters": {key: part for key, part in index.items() if key not in _KEYS}}
        for index in indexes
    ]


def faults_of_index(path: str, table: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield each fault of the key at ``path``, with the command that fixes the configuration."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    indexes = {f"{path}[{place}]": index for place, index in enumerate(value)} if is_list else {path: value}
    if not indexes or not all(isinstance(index, Mapping) for index in indexes.values()):
        fault = f"{table}: index must be a map, as in {_EXAMPLE}, or a list of maps; got {shown(value)}"
        yield fault, f"{remove_at(path)}; {set_at(f'{path}.method', 'hnsw')}"
        return
    for place, index in indexes.items():
        for key, fault in _faults(index):
            shown_fault = f"{table}: index: {fault}; got {shown(index[key])}" if key in index else f"{table}: {fault}"
            yield printable(shown_fault), _command(place, str(key), index)


def _faults(index: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key with a fault, and the fault."""
    if "method" not in index:
        yield "method", "index: method is missing"
    for key in _KEYS.keys() & index.keys():
        if not _fits(key, index[key]):
            yield key, f"{key} must be {_KEYS[key]}"
    if index.get("as") and index.get("bits") is True:
        yield "bits", "an index has as or bits, not both"
    parameters = {key: value for key, value in index.items() if key not in _KEYS}
    if index.get("method") not in RANGES:
        yield from _faults_of_unknown(parameters)
    yield from faults_of_parameters(str(index.get("method")), {str(key): value for key, value in parameters.items()})


def _faults_of_unknown(parameters: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the faults of the parameters of a method that only the server knows."""
    for key, value in parameters.items():
        if fault := fault_of_text(key):
            yield key, f"a parameter's name {fault}, and is {shown(key)}"
        elif value != "" and fault_of_value(value):
            yield key, f"{key} must be a number, text, true or false"


def _fits(key: str, value: Any) -> bool:
    try:
        msgspec.convert({"method": "hnsw", key: value}, IndexDeclaration)
    except msgspec.ValidationError:
        return False
    if isinstance(value, str) and fault_of_text(value):
        return False
    return value is not None and (key != "name" or len(value.encode()) <= LONGEST_NAME)


def _command(path: str, key: str, index: Mapping[str, Any]) -> str:
    """Return the command that sets a valid value, or removes a parameter that the method does not have."""
    ranges = RANGES.get(str(index.get("method")), {})
    if key in ranges:
        return set_at(f"{path}.{key}", _good(key, index))
    if key == "method" and (other := nearest("method", map(str, index))):
        return f"{remove_at(path_of(path, other))}; {set_at(f'{path}.{key}', 'hnsw')}"
    if key in _EXAMPLES and not (key == "bits" and index.get("as")):
        return set_at(f"{path}.{key}", _EXAMPLES[key])
    intended = nearest(str(key), ranges.keys() - index.keys())
    if intended is None:
        return remove_at(path_of(path, key))
    renamed = set_at(f"{path}.{intended}", _good(intended, {**index, intended: index[key]}))
    return f"{remove_at(path_of(path, key))}; {renamed}"


def _good(key: str, index: Mapping[str, Any]) -> int:
    """Return the value of a parameter if it is a number in its range, and a usual one otherwise."""
    least, most = RANGES[index["method"]][key]
    if key == "ef_construction" and type(index.get("m")) is int:
        least = max(least, 2 * index["m"])
    value = index.get(key)
    if isinstance(value, str | int) and str(value).isdecimal() and least <= int(value) <= most:
        return int(value)
    return min(max(_USUAL[key], least), most)
