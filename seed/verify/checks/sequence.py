"""The check sequence: the next generated id is beyond all ids in the table."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.postgres.catalog import find_column
from pgvector_seed.postgres.sequences import find_sequence

from ..context import Context, NotAllowedError
from ..model import Check, Outcome, failed, not_declared, passed, skipped

_DEFAULT_WITH_NEXTVAL = """
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
WHERE adrelid = %s AND adnum = %s AND pg_get_expr(adbin, adrelid) ~ 'nextval'
"""
_LAST_ID = "SELECT {function}({id}) FROM {table}"
_NEXT_ID = "SELECT last_value + CASE WHEN is_called THEN {increment} ELSE 0 END FROM {sequence}"
_LARGEST_ID = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1, "numeric": 2**63 - 1}


def run(context: Context) -> Outcome:
    """Compare the next id with the ids, which are read first: meanwhile the sequence only moves away from them."""
    if context.declared.id is None:
        return not_declared("an id")
    id_column = find_column(context.connection, context.table.oid, context.declared.id)
    if id_column is None:
        return skipped(f"after column: the column {context.declared.id} does not exist")
    own_sequence = find_sequence(context.connection, context.table.oid, id_column.number)
    if own_sequence is None and (
        default := context.fetch_value(_DEFAULT_WITH_NEXTVAL, context.table.oid, id_column.number)
    ):
        return skipped(f"the next id cannot be known from the expression {default}")
    if own_sequence is None or id_column.type_schema != "pg_catalog" or id_column.type not in _LARGEST_ID:
        return passed("the ids come from no sequence", "a next id beyond all ids")
    _, schema, name, increment, minimum, maximum, cycles, allowed, _ = own_sequence
    maximum = min(maximum, _LARGEST_ID[id_column.type])
    if not allowed:
        raise NotAllowedError(f"this login may not read the sequence {schema}.{name}")
    context.require_all_rows(context.declared.id)
    function = sql.SQL("max" if increment > 0 else "min")
    names = {"function": function, "id": sql.Identifier(context.declared.id), "table": context.sql_name}
    last = context.fetch_value(sql.SQL(_LAST_ID).format(**names))
    sequence = sql.Identifier(schema, name)
    next_id = context.fetch_value(sql.SQL(_NEXT_ID).format(increment=sql.Literal(increment), sequence=sequence))
    exhausted = not minimum <= next_id <= maximum
    if exhausted and cycles:
        next_id = minimum if increment > 0 else maximum
    actual = f"the next id is {next_id:,}" + ("" if last is None else f", and the last id in the table {last:,}")
    expected = "a next id beyond all ids"
    if exhausted and not cycles:
        return failed(expected, f"the sequence is exhausted: {actual}", _widen(sequence))
    if last is not None and (next_id - last) * increment <= 0:
        return failed(expected, actual, _widen(sequence) if exhausted else _advance(sequence, names))
    return passed(actual, expected)


def _widen(sequence: sql.Identifier) -> str:
    statement = sql.SQL("ALTER SEQUENCE {} AS bigint NO MAXVALUE NO MINVALUE;").format(sequence).as_string()
    return f"{statement}\n-- If the column is not a bigint, change its type in a migration."


def _advance(sequence: sql.Identifier, names: dict[str, sql.Composable]) -> str:
    text = sql.Literal(sequence.as_string())
    statement = "SELECT setval({text}, (SELECT {function}({id}) FROM {table}));"
    return sql.SQL(statement).format(text=text, **names).as_string()


CHECK = Check(
    "sequence", "the next generated id is not beyond the last id, or the sequence is exhausted", run, after=("table",)
)
