"""The check sequence: the next generated id is beyond all ids in the table."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.postgres.catalog import find_column
from pgvector_seed.postgres.sequences import Sequence, find_sequence

from ..context import Context, NotAllowedError
from ..model import Check, Outcome, failed, not_declared, passed, skipped

_DEFAULT_WITH_NEXTVAL = """
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
WHERE adrelid = %s AND adnum = %s AND pg_get_expr(adbin, adrelid) ~ 'nextval'
"""
_LAST_ID = "SELECT {function}({id}) FROM {table}"
_NEXT_ID = "SELECT last_value + CASE WHEN is_called THEN {increment} ELSE 0 END FROM {sequence}"
_SET = "SELECT setval({text}, (SELECT {function}({id}) FROM {table}));"
_STEP = "SELECT max(nextval({text})) FROM generate_series(1, {steps});"
_MOST_STEPS = 1_000_000  # about a second
_EXPECTED = "a next id beyond all ids"
_LARGEST_ID = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1, "numeric": 2**63 - 1}


def run(context: Context) -> Outcome:
    """Find the sequence of the declared id, and compare its next id with the ids in the table."""
    if context.declared.id is None:
        return not_declared("an id")
    column = find_column(context.connection, context.table.oid, context.declared.id)
    if column is None:
        return skipped(f"after column: the column {context.declared.id} does not exist")
    sequence = find_sequence(context.connection, context.table.oid, column.number)
    if sequence is None:
        default = context.fetch_value(_DEFAULT_WITH_NEXTVAL, context.table.oid, column.number)
        if default:
            return skipped(f"the next id cannot be known from the expression {default}")
    if sequence is None or column.type_schema != "pg_catalog" or column.type not in _LARGEST_ID:
        return passed("the ids come from no sequence", _EXPECTED)
    if sequence.unlogged:
        name = sql.Identifier(sequence.schema, sequence.name).as_string()
        return failed(_EXPECTED, f"{name} is unlogged: a crash resets it", f"ALTER SEQUENCE {name} SET LOGGED;")
    if not sequence.may_read:
        raise NotAllowedError(f"this login may not read the sequence {sequence.schema}.{sequence.name}")
    context.require_all_rows(context.declared.id)
    return _compare(context, context.declared.id, sequence, min(sequence.maximum, _LARGEST_ID[column.type]))


def _compare(context: Context, id_: str, sequence: Sequence, maximum: int) -> Outcome:
    """Compare the next id with the ids, which are read first: meanwhile the sequence only moves away from them."""
    rises = sequence.increment > 0
    function, name = sql.SQL("max" if rises else "min"), sql.Identifier(sequence.schema, sequence.name)
    names = {"function": function, "id": sql.Identifier(id_), "table": context.sql_name}
    last = context.fetch_value(sql.SQL(_LAST_ID).format(**names))
    next_id = context.fetch_value(sql.SQL(_NEXT_ID).format(increment=sql.Literal(sequence.increment), sequence=name))
    exhausted = not sequence.minimum <= next_id <= maximum
    if exhausted and sequence.cycles:
        next_id = sequence.minimum if rises else maximum
    actual = f"the next id is {next_id:,}" + ("" if last is None else f", and the last id in the table {last:,}")
    if exhausted and not sequence.cycles:
        return failed(_EXPECTED, f"the sequence is exhausted: {actual}", _widen(sequence, name))
    if last is not None and (next_id - last) * sequence.increment <= 0:
        steps = (last - next_id) // sequence.increment + 1
        return failed(_EXPECTED, actual, _widen(sequence, name) if exhausted else _advance(sequence, names, steps))
    return passed(actual, _EXPECTED)


def _widen(sequence: Sequence, name: sql.Identifier) -> str:
    statement = sql.SQL("ALTER SEQUENCE {} AS bigint NO MAXVALUE NO MINVALUE;").format(name).as_string()
    remedy = f"{statement}\n-- If the column is not a bigint, change its type in a migration."
    return remedy if sequence.may_alter else _as_owner(sequence, remedy)


def _advance(sequence: Sequence, names: dict[str, sql.Composable], steps: int) -> str:
    """Return the statement that this login may run, by ``steps`` calls of nextval() if it may not set the sequence."""
    text = sql.Literal(sql.Identifier(sequence.schema, sequence.name).as_string())
    set_value = sql.SQL(_SET).format(text=text, **names).as_string()
    if sequence.may_set:
        return set_value
    if sequence.may_advance and steps <= _MOST_STEPS:
        return sql.SQL(_STEP).format(text=text, steps=sql.Literal(steps)).as_string()
    return _as_owner(sequence, set_value)


def _as_owner(sequence: Sequence, remedy: str) -> str:
    return f"-- As {sequence.owner}:\n{remedy}"


CHECK = Check(
    "sequence",
    "the next generated id is not beyond the last id, or the sequence is exhausted or unlogged",
    run,
    after=("table",),
)
