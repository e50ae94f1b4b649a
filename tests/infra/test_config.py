"""The stack's configuration: all faults are reported at once, each with the command that fixes it."""

from __future__ import annotations

import json
import shlex

import pulumi
import pytest
import yaml

from local.workspace import ROOT
from pgvector_seed.infra.config import KEYS, PASSWORDS, parse
from pgvector_seed.infra.index_config import faults_of_index
from pgvector_seed.infra.roles import Role, Roles
from pgvector_seed.infra.tables import declarations
from pgvector_seed.migrate.contract import TableDeclaration, as_data
from pgvector_seed.migrate.runner import ApplyOptions
from pgvector_seed.migrate.session import Limits


def faults(raw: dict[str, str], secret: tuple[str, ...] = ()) -> str:
    with pytest.raises(pulumi.RunError) as caught:
        parse(raw, secret)
    return str(caught.value)


def test_an_empty_configuration_is_a_valid_one() -> None:
    settings = parse({})
    assert settings.connection == {}
    assert (settings.schema, settings.on_destroy, settings.password) == ("public", "retain", None)


def test_every_key_is_read() -> None:
    raw = {
        "host": "db",
        "port": "6543",
        "database": "odd-name",
        "user": "al",
        "password": "s3cret",
        "service": "app",
        "sslmode": "verify-full",
        "sslrootcert": "root.crt",
        "sslcert": "client.crt",
        "sslkey": "client.key",
        "schema": "my schema",
        "onDestroy": "revert",
        "minimumVersion": "0.8.5",
        "allowDown": "true",
        "lockTimeout": "5s",
        "statementTimeout": "30min",
        "indexMemory": "2GB",
        "createExtension": "false",
        "superuser": "false",
        "writerPassword": "wr1ter",
        "readerPassword": "re4der",
        "passwordVersion": "2",
        "importRoles": "true",
        "policy": "warn",
        "roles": json.dumps({"owner": "o", "writer": "w", "reader": "r"}),
        "tables": json.dumps({"items": {"metric": "cosine", "rows": 5, "recall": {"k": 10, "minimum": 0.9}}}),
        "readerSettings": json.dumps({"hnsw.ef_search": 100, "hnsw.iterative_scan": "strict_order", "jit": False}),
    }
    assert raw.keys() == {*KEYS, "tables", "roles", "readerSettings"}
    settings = parse(raw, PASSWORDS)
    assert settings.connection == {
        "host": "db",
        "port": "6543",
        "dbname": "odd-name",
        "user": "al",
        "service": "app",
        "sslmode": "verify-full",
        "sslrootcert": "root.crt",
        "sslcert": "client.crt",
        "sslkey": "client.key",
    }
    assert settings.options == ApplyOptions(Limits("5s", "30min"), allow_down=True)
    assert settings.tables["items"]["recall"] == {"k": 10, "minimum": 0.9}
    assert settings.reader_settings == {"hnsw.ef_search": 100, "hnsw.iterative_scan": "strict_order", "jit": False}
    assert settings.password == "s3cret"
    assert not settings.create_extension
    assert not settings.superuser
    assert settings.policy == "warn"
    assert settings.roles == Roles(
        Role("o"),
        Role("w", password="wr1ter"),
        Role("r", password="re4der"),
        password_version="2",
        import_existing=True,
    )


def test_the_example_for_rds_is_valid() -> None:
    """The example file, which people copy, is a valid configuration."""
    config = yaml.safe_load((ROOT / "Pulumi.rds.yaml.example").read_text())["config"]
    texts = {
        key.removeprefix("pgvector-seed:"): v if isinstance(v, str) else json.dumps(v) for key, v in config.items()
    }
    settings = parse(texts)
    assert settings.roles is not None
    assert not settings.superuser
    assert settings.connection["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ("app", "roles: must map owner, writer and reader to names"),
        ({"owner": "o", "writer": "w"}, "roles.reader: must be a role's name"),
        ({"owner": "o", "writer": "w", "reader": {"name": "r"}}, "config set --path 'roles.reader' app_reader"),
        ({"owner": "o", "writer": "w", "reader": "r", "admin": "a"}, "config rm --path 'roles.admin'"),
        ({"owner": "o", "writer": "w", "reader": "w"}, "must be three different roles"),
        ({"owner": "pg_monitor", "writer": "w", "reader": "r"}, "roles.owner: 'pg_monitor' is reserved"),
        ({"owner": "o", "writer": "w" * 64, "reader": "r"}, "63 bytes"),
    ],
)
def test_roles_that_cannot_be(roles: object, words: str) -> None:
    assert words in faults({"roles": json.dumps(roles)})


@pytest.mark.parametrize("raw", [{}, {"roles": '{"owner": "o", "writer": {"existing": "w"}, "reader": "r"}'}])
def test_a_password_for_a_role_that_the_stack_does_not_make(raw: dict[str, str]) -> None:
    """The password of a role that the stack does not create is refused: it would be set nowhere."""
    assert "pulumi config rm writerPassword" in faults({**raw, "writerPassword": "x"}, ("writerPassword",))


def test_the_password_is_not_in_the_repr() -> None:
    """The repr of the settings hides the password, so that no log shows it."""
    roles = '{"owner": "o", "writer": "w", "reader": "r"}'
    raw = {"roles": roles, **dict.fromkeys(PASSWORDS, "s3cret")}
    assert "s3cret" not in repr(parse(raw, PASSWORDS))


def test_all_faults_are_reported_at_once() -> None:
    """One error names every fault, so that fixing them takes one deployment."""
    errors = faults({"port": "99999", "onDestroy": "keep", "shcema": "x"})
    assert "pulumi config set port 5432" in errors
    assert "pulumi config set onDestroy retain" in errors
    assert "pulumi config rm shcema" in errors


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            {"on_destroy": "revert"},
            "did you mean onDestroy? Run: pulumi config rm on_destroy; pulumi config set onDestroy",
        ),
        ({"readerpasword": "s3cret"}, "Run: pulumi config rm readerpasword; pulumi config set --secret readerPassword"),
        ({"on_destroy": "revert", "onDestroy": "revert"}, "Run: pulumi config rm on_destroy"),
        (
            {"tables": '{"t": {"metrics": "l2"}}'},
            "rm --path 'tables[\"t\"].metrics'; pulumi config set --path 'tables[\"t\"].metric'",
        ),
        ({"ondestroy": "revert"}, "did you mean onDestroy?"),
        ({"minimum-version": "0.8.4"}, "did you mean minimumVersion?"),
        ({"shcema": "x"}, "did you mean schema?"),
        ({"table": "{}"}, "did you mean tables?"),
        ({"tables": '{"t": {"metrics": "l2"}}'}, "no such key: metrics; did you mean metric?"),
        ({"tables": '{"t": {"recall": {"k": 10, "minium": 0.9}}}'}, "no such key: minium; did you mean minimum?"),
        ({"tables": '{"t": {"fresh": {"embeded": "a"}}}'}, "no such key: embeded; did you mean embedded?"),
        ({"tables": '{"t": {"normalised": true}}'}, "no such key: normalised; did you mean normalized?"),
        ({"readersettings": "{}"}, "did you mean readerSettings?"),
        ({"readerSettings": '{"ef_search": 1}'}, "did you mean hnsw.ef_search?"),
        ({"roles": '{"owner": "o", "writer": "w", "reeder": "r"}'}, "no such key: reeder; did you mean reader?"),
        ({"roles": '{"owner": {"exists": "o"}, "writer": "w", "reader": "r"}'}, "did you mean existing?"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(raw: dict[str, str], words: str) -> None:
    assert words in faults(raw)


def test_a_key_that_is_near_to_none_suggests_nothing() -> None:
    assert "did you mean" not in faults({"colour": "red"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", "0"),
        ("port", "x"),
        ("port", "5432.0"),
        ("port", "٥٤٣٢"),
        ("host", ""),
        ("user", "a\0b"),
        ("sslmode", "prefer"),
        ("onDestroy", "Revert"),
        ("schema", "pg_catalog"),
        ("schema", "pgvector_seed"),
        ("schema", "$user"),
        ("schema", "ü" * 32),
        ("minimumVersion", "latest"),
        ("schema", "pgvector_seed_scratch"),
        ("allowDown", "yes"),
        ("lockTimeout", "5"),
        ("statementTimeout", "5 s"),
        ("indexMemory", "2 gigabytes"),
    ],
)
def test_a_bad_value_names_its_key_and_the_command(key: str, value: str) -> None:
    assert f"{key}: " in faults({key: value})
    assert f"pulumi config set {key}" in faults({key: value})


@pytest.mark.parametrize(
    ("value", "command"),
    [
        ("embeddings", "rm tables"),
        ("[]", "rm tables"),
        ('{"t": 1}', "rm --path 'tables[\"t\"]'"),
        ('{"my.t": {"metric": "l3"}}', "set --path 'tables[\"my.t\"].metric' l2"),
        ('{"my.t": {"metric": "cos"}}', "set --path 'tables[\"my.t\"].metric' cosine"),
        ('{"t": {"rows": -1}}', "set --path 'tables[\"t\"].rows' 1000"),
        ('{"t": {"rows": true}}', "set --path 'tables[\"t\"].rows' 1000"),
        ('{"t": {"recall": {"k": 0, "minimum": 0.9}}}', "set --path 'tables[\"t\"].recall.k' 10"),
        ('{"t": {"recall": {"k": 10}}}', "set --path 'tables[\"t\"].recall.minimum' --type float 0.9"),
        (
            '{"t": {"recall": {"k": 10, "minimum": "0.9"}}}',
            "set --path 'tables[\"t\"].recall.minimum' --type float 0.9",
        ),
        ('{"t": {"recall": 0.9}}', "rm --path 'tables[\"t\"].recall'"),
        ('{"t": {"rows": 5.0}}', "set --path 'tables[\"t\"].rows' 1000"),
        ('{"t": {"rows": null}}', "set --path 'tables[\"t\"].rows' 1000"),
        ('{"t": {"metric": null}}', "set --path 'tables[\"t\"].metric' l2"),
        (
            '{"t": {"recall": {"k": 10, "minimum": 1.5}}}',
            "set --path 'tables[\"t\"].recall.minimum' --type float 0.9",
        ),
        ('{"t": {"recall": {"k": 10, "minimum": 0.9, "of": 1}}}', "rm --path 'tables[\"t\"].recall.of'"),
        ('{"t": {"recall": {"k": 10, "minimum": 0.9, "filter": 1}}}', "rm --path 'tables[\"t\"].recall.filter'"),
        ('{"t": {"recall": {"k": 10, "minimum": 0.9, "filter": null}}}', "rm --path 'tables[\"t\"].recall.filter'"),
        ('{"t": {"missing": 2}}', "set --path 'tables[\"t\"].missing' --type float 0.1"),
        ('{"t": {"missing": true}}', "set --path 'tables[\"t\"].missing' --type float 0.1"),
        ('{"t": {"normalized": 1}}', "set --path 'tables[\"t\"].normalized' true"),
        ('{"t": {"fresh": {"embedded": "at"}}}', "set --path 'tables[\"t\"].fresh.updated' updated_at"),
        (
            '{"t": {"fresh": {"embedded": "", "updated": "at"}}}',
            "set --path 'tables[\"t\"].fresh.embedded' embedded_at",
        ),
        (
            '{"t": {"model": "ada"}}',
            "rm --path 'tables[\"t\"].model'; pulumi config set --path 'tables[\"t\"].model.name'",
        ),
        ('{"t": {"model": {"name": "ada", "column": "m", "of": 1}}}', "rm --path 'tables[\"t\"].model.of'"),
        ('{"t": {"metrics": "l2"}}', "rm --path 'tables[\"t\"].metrics'"),
        ('{"t": {"index": "hnsw"}}', "set --path 'tables[\"t\"].index.method' hnsw"),
        ('{"t": {"index": {"m": 8}}}', "set --path 'tables[\"t\"].index.method' hnsw"),
        ('{"t": {"index": {"method": "hnsw", "m": 101}}}', "set --path 'tables[\"t\"].index.m' 16"),
        ('{"t": {"index": {"method": "hnsw", "m": 40}}}', "set --path 'tables[\"t\"].index.ef_construction' 80"),
        ('{"t": {"index": {"method": "hnsw", "list": 9}}}', "rm --path 'tables[\"t\"].index.list'"),
        ('{"t": {"index": {"method": "ivfflat", "list": 9}}}', "set --path 'tables[\"t\"].index.lists' 9"),
        ('{"t": {"index": [{"method": "hnsw", "as": "vector"}]}}', "set --path 'tables[\"t\"].index[0].as' halfvec"),
        (
            '{"t": {"index": {"method": "hnsw", "as": "halfvec", "bits": true}}}',
            "rm --path 'tables[\"t\"].index.bits'",
        ),
        ('{"t": {"index": {"method": "diskann", "deep": []}}}', "rm --path 'tables[\"t\"].index.deep'"),
        (f'{{"t": {{"index": {{"method": "hnsw", "name": "{"x" * 60}"}}}}}}', "rm --path 'tables[\"t\"].index.name'"),
        ('{"t": {"index": {"method": "hnsw", "m": "8"}}}', "set --path 'tables[\"t\"].index.m' 8"),
        (
            '{"t": {"index": {"method": "hnsw", "ef_constuction": 100}}}',
            "set --path 'tables[\"t\"].index.ef_construction' 100",
        ),
        ('{"t": {"index": {"metod": "hnsw"}}}', "rm --path 'tables[\"t\"].index.metod'; pulumi config set --path"),
        ('{"t": {"index": {"method": "hnsw", "a.b": 1}}}', 'rm --path \'tables["t"].index["a.b"]\''),
        ('{"t": {"index": {"method": "diskann", "d": NaN}}}', "rm --path 'tables[\"t\"].index.d'"),
        ('{"t": {"index": {"method": "diskann", "": 1}}}', 'rm --path \'tables["t"].index[""]\''),
        ('{"t": {"index": {"method": "diskann", "d": "\\u0000"}}}', "rm --path 'tables[\"t\"].index.d'"),
        (
            """{"t": {"index": {"method": "diskann", "x'; touch p; '": []}}}""",
            """rm --path 'tables["t"].index["x'"'"'; touch p; '"'"'"]'""",
        ),
    ],
)
def test_a_bad_declaration_of_a_table_comes_with_the_whole_command(value: str, command: str) -> None:
    assert f"pulumi config {command}" in faults({"tables": value})


@pytest.mark.parametrize(
    ("value", "command"),
    [
        ("100", "rm readerSettings"),
        ("hnsw.ef_search", "rm readerSettings"),
        ('["hnsw.ef_search"]', "rm readerSettings"),
        ('{"hnsw.ef_search": null}', "set --path 'readerSettings[\"hnsw.ef_search\"]' 1"),
        ('{"hnsw.ef_search": ""}', "set --path 'readerSettings[\"hnsw.ef_search\"]' 1"),
        ('{"hnsw.scan_mem_multiplier": NaN}', "set --path 'readerSettings[\"hnsw.scan_mem_multiplier\"]' 1"),
        ('{"search_path": "evil"}', "rm --path 'readerSettings[\"search_path\"]'"),
        ('{"role": "postgres"}', "rm --path 'readerSettings[\"role\"]'"),
        ('{"it\'s": 1}', "rm --path 'readerSettings[\"it'\"'\"'s\"]'"),
        (
            '{"hnsw": {"ef_search": 100, "m": []}}',
            "rm --path 'readerSettings[\"hnsw\"]'; pulumi config set --path 'readerSettings[\"hnsw.ef_search\"]' 100",
        ),
    ],
)
def test_a_bad_setting_of_the_reader_comes_with_the_command(value: str, command: str) -> None:
    """The last case is what `pulumi config set --path readerSettings.hnsw.ef_search 100` stores."""
    assert f"Run: pulumi config {command}" in faults({"readerSettings": value})


def test_a_bad_declaration_of_a_table_says_what_it_got_and_what_it_wants() -> None:
    errors = faults({"tables": '{"t": {"metric": "l3", "rows": -1, "recall": 0.9}}'})
    assert "metric must be one of l2, ip, cosine, l1, hamming, jaccard; got 'l3'" in errors
    assert "rows must be an integer; got -1" in errors
    assert "recall must be a map of k (an integer), minimum (0 to 1) and perhaps filter (a column); got 0.9" in errors


def test_declared_indexes_of_any_access_method_are_read() -> None:
    indexes = [
        {"method": "hnsw", "m": 8, "column": "title", "as": "halfvec", "name": "small"},
        {"method": "diskann", "storage_layout": "memory_optimized", "max_alpha": 1.2},
    ]
    declared = (
        declarations(parse({"tables": json.dumps({"t": {"metric": "l2", "index": indexes}})}).tables)["t"].index or ()
    )
    assert as_data(declared[0]) == {
        "method": "hnsw",
        "column": "title",
        "as": "halfvec",
        "name": "small",
        "parameters": {"m": 8},
    }
    assert declared[1].parameters == {"storage_layout": "memory_optimized", "max_alpha": 1.2}


@pytest.mark.parametrize("key", ["x'; touch /tmp/pwn; '", "a.b", 'a"b', "a b"])
@pytest.mark.parametrize("method", ["hnsw", "diskann"])
@pytest.mark.parametrize("table", ["t", "it's"])
def test_a_command_names_the_key_whatever_it_is(key: str, method: str, table: str) -> None:
    """Regression: a quote in a key ended the shell's word, and a dot was one of the path."""
    errors = faults({"tables": json.dumps({table: {"index": {"method": method, key: []}}})})
    words = shlex.split(errors.partition("Run: ")[2])
    assert words == ["pulumi", "config", "rm", "--path", f"tables[{json.dumps(table)}].index[{json.dumps(key)}]"]


@pytest.mark.parametrize("value", [{"key'; x": 1}, {"metric'; x": "l2"}, 5, {"rows": -1}, {"recall": {"k'; x": 1}}])
def test_a_command_for_a_table_is_quoted(value: object) -> None:
    for command in faults({"tables": json.dumps({"it's": value})}).partition("Run: ")[2].split("; pulumi"):
        assert any(word.startswith('tables["it\'s"]') for word in shlex.split(command))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "null", '"a\\u0000b"', '"\\ud800"', "1" + "0" * 400])
def test_a_parameter_that_no_server_takes_is_refused(value: str) -> None:
    errors = faults({"tables": f'{{"t": {{"index": {{"method": "diskann", "deep": {value}}}}}}}'})
    assert "index: deep must be a number, text, true or false; got " in errors
    assert "pulumi config rm --path 'tables[\"t\"].index.deep'" in errors


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", 5, None])
def test_a_parameter_without_a_name_is_refused(key: object) -> None:
    """The program of a user may have keys of any type."""
    (fault,) = faults_of_index("tables.t.index", "t", {"method": "diskann", key: 1})
    assert "a parameter's name must be text" in fault[0]


@pytest.mark.parametrize("key", ["name", "column", "method"])
def test_a_text_that_is_no_unicode_is_refused(key: str) -> None:
    errors = faults({"tables": json.dumps({"t": {"index": {"method": "hnsw", key: "\ud800"}}})})
    assert f"index: {key} must be " in errors


def test_only_the_wrong_part_of_a_recall_is_to_be_set() -> None:
    """Regression: the advice was to remove the recall and to set all of it at once."""
    errors = faults({"tables": '{"t": {"recall": {"k": 5, "minimum": 90}}}'})
    command = "pulumi config set --path 'tables[\"t\"].recall.minimum' --type float 0.9"
    assert errors.endswith(f"got {{'k': 5, 'minimum': 90}}. Run: {command}")


def test_tables_in_another_form_show_the_right_one() -> None:
    assert "as in {items: {metric: l2}}; got '[\"items\"]'" in faults({"tables": '["items"]'})


def test_a_large_value_is_shortened() -> None:
    nested: object = "x" * 1000
    for _ in range(5):
        nested = [nested] * 9
    for raw in ({"tables": {"t": nested}}, {"tables": nested}, {"roles": nested}, {"onDestroy": nested}):
        assert len(faults({key: json.dumps(value) for key, value in raw.items()})) < 3000


def test_every_key_of_a_declared_table_has_its_words() -> None:
    """A fault in any key of a declared table names the command that sets the key."""
    for key in TableDeclaration.__struct_fields__:
        assert f'pulumi config set --path \'tables["t"].{key}' in faults({"tables": json.dumps({"t": {key: []}})})


def test_a_password_in_plain_text_is_refused_and_not_repeated() -> None:
    """A password that was set without --secret is refused: the stack's file is committed."""
    errors = faults({"password": "s3cret"})
    assert "pulumi config set --secret password" in errors
    assert "s3cret" not in errors
