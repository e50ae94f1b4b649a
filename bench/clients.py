"""Clients that query while an index is built."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import psycopg

CLIENTS = 8
QUERY = "SELECT id FROM items ORDER BY embedding <-> %s::vector LIMIT 10"


def p95_while(work: Callable[[], object]) -> float:
    """Return the 95th percentile of the clients' times in seconds, for the queries that ran while ``work`` did."""
    ended = Event()
    with psycopg.connect() as connection:
        vectors = [row[0] for row in connection.execute("SELECT embedding::text FROM items LIMIT 100")]
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(_query, vectors[place::CLIENTS], ended) for place in range(CLIENTS)]
        try:
            work()
        finally:
            ended.set()
        times = [time_ for client in clients for time_ in client.result()]
    return statistics.quantiles(times, n=20)[-1]


def _query(vectors: list[str], ended: Event) -> list[float]:
    """Ask for each vector in turn until ``ended`` is set, and return the times."""
    times = []
    with psycopg.connect(autocommit=True) as connection:
        while not ended.is_set():
            for vector in vectors:
                started = time.perf_counter()
                connection.execute(QUERY, (vector,)).fetchall()
                times.append(time.perf_counter() - started)
    return times
