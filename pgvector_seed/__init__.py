"""Declare a pgvector database, fill it, and prove that its answers are correct."""

TYPE_CHECKING = False  # importing typing would slow down every command
if TYPE_CHECKING:
    from pgvector_seed.data.arrays import load
    from pgvector_seed.data.nearest import nearest
    from pgvector_seed.infra.args import VectorDatabaseArgs
    from pgvector_seed.infra.database import VectorDatabase
    from pgvector_seed.infra.process import leave_quietly_on_interrupt
    from pgvector_seed.infra.roles import Role, Roles

__all__ = ["Role", "Roles", "VectorDatabase", "VectorDatabaseArgs", "leave_quietly_on_interrupt", "load", "nearest"]
_HOMES = {
    "Role": "infra.roles",
    "Roles": "infra.roles",
    "VectorDatabase": "infra.database",
    "VectorDatabaseArgs": "infra.args",
    "leave_quietly_on_interrupt": "infra.process",
    "load": "data.arrays",
    "nearest": "data.nearest",
}
# The package that is missing -> its name, and the extra that has it.
_EXTRAS = {
    "pulumi": ("Pulumi", "pulumi"),
    "pulumi_postgresql": ("Pulumi", "pulumi"),
    "numpy": ("NumPy", "load"),
}

if not TYPE_CHECKING:  # with it, a type checker accepts every name

    def __getattr__(name: str) -> object:
        """Import a name at its first use: it needs the packages of an extra.

        Raises ImportError with the command that installs the extra if it is missing.
        """
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f"pgvector_seed.{_HOMES[name]}"), name)
        except ModuleNotFoundError as error:
            if error.name not in _EXTRAS:
                raise
            from pgvector_seed.common.remedies import install_extra

            package, extra = _EXTRAS[error.name]
            raise ImportError(f"{name} needs {package}: {install_extra(extra)}", name=error.name) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
