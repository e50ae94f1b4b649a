"""Object stores, s3:// and gs://, by pyarrow's own file systems.

Credentials come from the environment, or from where the tools of the store look for them, never from an argument.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.session import AGAIN

WILD = "*?["  # the signs of a pattern
CONNECT_SECONDS, SILENT_SECONDS = 5, 10  # of a request to S3, which is tried three times
GS_SECONDS = 30  # of a request to Google, with all tries
_STORES = ("s3", "gs")
_LIST = {"s3": "aws s3 ls", "gs": "gcloud storage ls"}
_LOGIN = {"s3": "aws sts get-caller-identity", "gs": "gcloud auth application-default login"}
_REFUSES = re.compile(
    r"ACCESS_DENIED|ACCESS_KEY|SIGNATURE|TOKEN|EXPIRED|CREDENTIALS|HTTP status 40[13]|PERMISSION_DENIED|UNAUTHENTICATED"
)
_UNREACHABLE = re.compile(r"NETWORK_CONNECTION|curlCode|HTTP status 5\d\d|SLOW_DOWN|UNAVAILABLE|DEADLINE_EXCEEDED")
_OTHER_REGION = re.compile(r"HTTP status 301|configured region")
_REQUEST = re.compile(r" \(Request ID: [^)]*\)")


def is_remote(file: str) -> bool:
    """Return True if the file is in an object store."""
    return file.lower().startswith(tuple(f"{store}://" for store in _STORES))


@contextmanager
def reading(file: str) -> Iterator[tuple[Any, str]]:
    """Yield pyarrow's file system of an object, and its path there. Raises InputError for a failure of the store."""
    store, path = _split(file)
    try:
        yield _system(store, os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")), path
    except OSError as error:
        raise unreadable(file, error) from error


def matching_objects(pattern: str) -> list[str]:
    """Return the objects that a pattern matches, sorted by name. The name of an existing object is no pattern."""
    with reading(pattern) as (system, path):
        if not any(sign in path for sign in WILD) or system.get_file_info(path).is_file:
            return [pattern]
        parts = path.split("/")
        first = next(place for place, part in enumerate(parts) if any(sign in part for sign in WILD))
        if not first:
            raise InputError(f"{pattern} has a pattern for the name of a bucket", "Name the bucket.")
        from pyarrow import fs

        folder, is_deep = "/".join(parts[:first]), first + 1 < len(parts) or parts[first] == "**"
        infos = system.get_file_info(fs.FileSelector(folder, recursive=is_deep, allow_not_found=True))
        names = sorted(info.path for info in infos if info.is_file and _matches(info.path.split("/"), parts))
    store, bucket = _split(pattern)[0], parts[0]
    if not names and not _has_bucket(pattern, bucket):
        raise _no_bucket(store, bucket, pattern)
    return [f"{store}://{name}" for name in names]


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def unreadable(file: str, error: Exception) -> InputError:
    """Return the error for a file that cannot be read to its end, with the remedy if its store has failed."""
    words = _REQUEST.sub("", " ".join(str(error).split()))
    if not is_remote(file):
        return InputError(f"{file} cannot be read to its end: {words}")
    if isinstance(error, FileNotFoundError) or "NO_SUCH_BUCKET" in words or "NO_SUCH_KEY" in words:
        return _missing(file)
    store, reason = _split(file)[0], words.rpartition("AWS Error ")[2]  # without the name of the object
    if _OTHER_REGION.search(reason):
        return InputError(f"{file} cannot be read: {words}", "Set AWS_REGION to the bucket's region.")
    if _REFUSES.search(reason):
        return InputError(f"the store refuses to read {file}: {words}", f"See who asks: {_LOGIN[store]}")
    if _UNREACHABLE.search(reason):
        check = "Check AWS_ENDPOINT_URL and the network. " if store == "s3" else ""
        return InputError(f"the store of {file} cannot be reached: {words}", f"{check}{AGAIN}")
    return InputError(f"{file} cannot be read to its end: {words}")


def _missing(file: str) -> InputError:
    store, path = _split(file)
    bucket, _, key = path.partition("/")
    if not _has_bucket(file, bucket):
        return _no_bucket(store, bucket, file)
    folder = f"{store}://{bucket}/{key.rpartition('/')[0]}"
    return InputError(f"there is no object {file}", f"List what is there: {_LIST[store]} {folder.rstrip('/')}/")


def _no_bucket(store: str, bucket: str, file: str) -> InputError:
    return InputError(f"there is no bucket {bucket}, of {file}", f"List them: {_LIST[store]}")


def _has_bucket(file: str, bucket: str) -> bool:
    """Return False if the bucket is missing: a store answers as for a missing object."""
    from pyarrow import fs

    try:
        with reading(file) as (system, _):
            return bool(system.get_file_info(bucket).type != fs.FileType.NotFound)
    except InputError:  # this login may not ask
        return True


def _split(file: str) -> tuple[str, str]:
    """Return the store, and bucket/key. Raises InputError if the key is missing, or the bucket has @ or a colon."""
    scheme, _, path = file.partition("://")
    store = scheme.lower()
    bucket, _, key = path.partition("/")
    if "@" in bucket or ":" in bucket:
        raise InputError(
            f"an address {store}://... has more than a bucket and a key", "Credentials: by the environment."
        )
    if not bucket or not key:
        raise InputError(f"{file} names no object", f"Name it: {store}://BUCKET/KEY")
    if "//" in path:
        raise InputError(f"{file} has an empty part, which pyarrow cannot read", "Give the object another key.")
    return store, path


@cache
def _system(store: str, endpoint: str | None) -> Any:
    """Return a file system with short timeouts. It looks for credentials when it is first used."""
    try:
        from pyarrow import fs

        if store == "gs":
            return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=GS_SECONDS))
        return fs.S3FileSystem(
            endpoint_override=endpoint, connect_timeout=CONNECT_SECONDS, request_timeout=SILENT_SECONDS
        )
    except ImportError as error:
        raise InputError(f"this pyarrow cannot read {store}://: {error}", "Copy the files to this machine.") from error
