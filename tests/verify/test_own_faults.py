"""More faults beside healthy variants of them, and every type with every metric."""

from __future__ import annotations

import pytest

from seed.verify.checks.recall import QUERIES
from seed.verify.model import Status
from tests.conftest import ask, tries
from tests.verify.healthy_variants import HEALTHY
from tests.verify.helpers import FEW_QUERIES, declared, failing, remedies, results, run_sql, with_status
from tests.verify.own_faults import FIXED_BY_REMEDY, GRANTS, OWN, Fault
from tests.verify.unforeseen_faults import UNFORESEEN, UNFORESEEN_FIXED_BY_REMEDY

KINDS = {
    "vector": ("embedding", ("l2", "ip", "cosine", "l1")),
    "halfvec": ("embedding::halfvec(32)", ("l2", "ip", "cosine", "l1")),
    "sparsevec": ("embedding::sparsevec(32)", ("l2", "ip", "cosine", "l1")),
    "bit": ("binary_quantize(embedding)::bit(32)", ("hamming", "jaccard")),
}
COMBINATIONS = [
    pytest.param(kind, metric, marks=[pytest.mark.rest] if metric != metrics[0] else [])
    for kind, (_, metrics) in KINDS.items()
    for metric in metrics
]


@pytest.mark.parametrize("fault", [*OWN, *UNFORESEEN, *HEALTHY], ids=lambda fault: fault.name)
def test_exactly_what_is_wrong_is_found(base: str, fault: Fault) -> None:
    """Exactly the expected checks fail, and none on a healthy variant, with new random queries in each round."""
    try:
        run_sql(base, fault.sql)
        contract = declared(fault.table, **fault.contract)
        for _ in range(1 if fault.expect else tries(1, soak=10)):
            outcomes = results(base, contract, queries=QUERIES if fault.is_about_recall else FEW_QUERIES)
            assert with_status(outcomes, Status.FAIL).keys() == set(fault.expect)
        if fault.name in FIXED_BY_REMEDY | UNFORESEEN_FIXED_BY_REMEDY:
            run_sql(base, remedies(outcomes))
            assert failing(base, contract) == {}, "what it says to type fixes it"
    finally:
        run_sql(base, fault.undo)


@pytest.mark.parametrize(("kind", "metric"), COMBINATIONS)
def test_every_type_with_every_metric(base: str, kind: str, metric: str) -> None:
    """An index for the declared metric passes for each type, and one for another metric fails."""
    cast, metrics = KINDS[kind]
    ask(base, f"CREATE TABLE typed AS SELECT id, {cast} AS embedding FROM items WHERE id <= 3000")
    run_sql(base, "ALTER TABLE typed ADD PRIMARY KEY (id);" + GRANTS.format("typed"))
    other_metric = metrics[metrics.index(metric) - 1]
    indexes = [{"name": "typed_index", "method": "hnsw"}]
    table = {
        "name": "public.typed",
        "type": kind,
        "rows": 3000,
        "metric": metric,
        "indexes": indexes,
        "recall": {"k": 10, "minimum": 0.8},
    }
    for built, wrong in ((metric, set()), (other_metric, {"index"})):
        run_sql(
            base,
            "DROP INDEX IF EXISTS typed_index; "
            f"CREATE INDEX typed_index ON typed USING hnsw (embedding {kind}_{built}_ops); ANALYZE typed",
        )
        outcomes = results(base, declared(table))
        assert with_status(outcomes, Status.FAIL).keys() == wrong
        if not wrong:
            assert {"plan", "recall", "vectors"} <= with_status(outcomes, Status.PASS).keys()
