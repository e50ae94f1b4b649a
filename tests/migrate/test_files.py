"""Reading a folder of migrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.files import load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def fault(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(folder)
    return str(caught.value)


def test_the_migrations_come_in_order_with_their_downs(folder: Path) -> None:
    (folder / "0002_b.up.sql").write_text("SELECT 2;")
    (folder / "0001_a.up.sql").write_text("SELECT 1;")
    (folder / "0001_a.down.sql").write_text("SELECT -1;")
    (folder / "notes.txt").write_text("not ours")
    assert [(migration.id, migration.up, migration.down) for migration in load(folder)] == [
        ("0001_a", "SELECT 1;", "SELECT -1;"),
        ("0002_b", "SELECT 2;", None),
    ]


def test_line_endings_and_a_byte_order_mark_do_not_change_the_checksum(folder: Path) -> None:
    """A checkout on another system has the same checksums."""
    file = folder / "0001_a.up.sql"
    file.write_bytes(b"SELECT 1;\nSELECT 2;\n")
    plain = load(folder)[0].checksum
    file.write_bytes(b"\xef\xbb\xbfSELECT 1;\r\nSELECT 2;\r\n")
    assert load(folder)[0].checksum == plain
    file.write_bytes(b"SELECT 1;\nSELECT 3;\n")
    assert load(folder)[0].checksum != plain


def test_every_bad_file_is_named_at_once(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x.sql"
    outside.write_text("SELECT 1;")
    (folder / "0001_a.up.sql").write_text("")
    (folder / "0002_b.up.sql").write_bytes(b"SELECT '\xff';")
    (folder / "0003_c.up.sql").symlink_to(outside)
    (folder / "0004_d.up.sql").write_text("SELECT 4;")
    (folder / "0004_e.up.sql").write_text("SELECT 4;")
    (folder / "0005_f.down.sql").write_text("SELECT 5;")
    (folder / "6_g.up.sql").write_text("SELECT 6;")
    (folder / "0007_h.up.sql").mkdir()
    (folder / "0008_i.up.sql").write_text("SELECT 8;\0DROP TABLE t;")
    (folder / "0010_k.up.sql").write_text("SELECT 10;")
    (folder / "٠٠١٣_x.up.sql").write_text("SELECT 13;")
    error = fault(folder)
    for words in (
        "0001_a.up.sql: empty",
        "0002_b.up.sql: not UTF-8 (byte 8)",
        "0003_c.up.sql: a symbolic link out of the folder",
        "0004_d, 0004_e: two migrations with the number 0004",
        "0005_f.up.sql is missing",
        "6_g.up.sql: the name must be like",
        "0007_h.up.sql: not a file",
        "0008_i.up.sql: a NUL byte",
        "0010_k: the migration 0009 is missing",
        "٠٠١٣_x.up.sql: the name must be like",
    ):
        assert words in error


def test_a_folder_that_is_empty_or_missing_is_named(folder: Path) -> None:
    assert "no migrations in this folder" in fault(folder)
    assert "No such file or directory" in fault(folder / "nowhere")
