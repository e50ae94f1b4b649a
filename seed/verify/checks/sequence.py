"""sequence: the next generated id is above every id that is there."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.postgres.catalog import find_column

from ..context import Look, NotAllowedError
from ..model import Check, Outcome, failed, not_declared, passed, skipped

# The sequence that belongs to an identity column, or that the column's default takes its value from as it is.
_SEQUENCE = """
SELECT n.nspname, c.relname, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle,
       has_sequence_privilege(c.oid, 'SELECT')
FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT objid FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND deptype = 'i'
                  AND refobjid = %(table)s AND refobjsubid = %(column)s
                UNION ALL
                SELECT d.refobjid FROM pg_depend d
                JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
                WHERE a.adrelid = %(table)s AND a.adnum = %(column)s
                  AND pg_get_expr(a.adbin, a.adrelid) LIKE 'nextval(%%::regclass)')
"""
_COMPUTED = """
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
WHERE adrelid = %s AND adnum = %s AND pg_get_expr(adbin, adrelid) ~ 'nextval'
"""
_FARTHEST = "SELECT {function}({id}) FROM {table}"
_NEXT = "SELECT last_value + CASE WHEN is_called THEN {increment} ELSE 0 END FROM {sequence}"
_LARGEST = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1, "numeric": 2**63 - 1}


def judge(look: Look) -> Outcome:
    """Judge the next value. The ids are read first: the sequence moves on meanwhile, and never back."""
    if look.table.id is None:
        return not_declared("an id")
    found = find_column(look.connection, look.there.oid, look.table.id)
    if found is None:
        return skipped(f"after column: there is no column {look.table.id}")
    row = look.connection.execute(_SEQUENCE, {"table": look.there.oid, "column": found.number}).fetchone()
    if row is None and (default := look.value(_COMPUTED, look.there.oid, found.number)):
        return skipped(f"the ids are computed, which cannot be judged: {default}")
    if row is None or found.type_schema != "pg_catalog" or found.type not in _LARGEST:
        return passed("the ids come from no sequence", "an id that is free")
    schema, name, increment, least, most, cycles, allowed = row
    most = min(most, _LARGEST[found.type])
    if not allowed:
        raise NotAllowedError(f"this login may not read the sequence {schema}.{name}")
    look.must_see_all(look.table.id)
    function = sql.SQL("max" if increment > 0 else "min")
    names = {"function": function, "id": sql.Identifier(look.table.id), "table": look.sql_name}
    farthest = look.value(sql.SQL(_FARTHEST).format(**names))
    sequence = sql.Identifier(schema, name)
    following = look.value(sql.SQL(_NEXT).format(increment=sql.Literal(increment), sequence=sequence))
    ended = not least <= following <= most
    if ended and cycles:
        following = least if increment > 0 else most
    said = f"the next id is {following:,}" + ("" if farthest is None else f", and the last one there {farthest:,}")
    expected = "a next id beyond those that are there"
    if ended and not cycles:
        return failed(expected, f"the sequence has come to its end: {said}", _widen(sequence))
    if farthest is not None and (following - farthest) * increment <= 0:
        return failed(expected, said, _widen(sequence) if ended else _move(sequence, names))
    return passed(said, expected)


def _widen(sequence: sql.Identifier) -> str:
    widen = sql.SQL("ALTER SEQUENCE {} AS bigint NO MAXVALUE NO MINVALUE;").format(sequence).as_string()
    return f"{widen}\n-- A column that is no bigint is made one by a migration."


def _move(sequence: sql.Identifier, names: dict[str, sql.Composable]) -> str:
    text = sql.Literal(sequence.as_string())
    move = "SELECT setval({text}, (SELECT {function}({id}) FROM {table}));"
    return sql.SQL(move).format(text=text, **names).as_string()


CHECK = Check(
    "sequence", "the next generated id is not above the largest, or there is none left", judge, after=("table",)
)
