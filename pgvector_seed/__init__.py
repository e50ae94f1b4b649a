"""Declare a pgvector database, fill it, and prove that it answers right."""

TYPE_CHECKING = False  # every command waits for this module, and typing's own would be an import
if TYPE_CHECKING:
    from pgvector_seed.infra.database import VectorDatabase, VectorDatabaseArgs

__all__ = ["VectorDatabase", "VectorDatabaseArgs"]

if not TYPE_CHECKING:  # a type checker would believe in every name

    def __getattr__(name: str) -> object:
        """Import Pulumi, which not every program has, once the component is asked for."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            from pgvector_seed.infra import database
        except ModuleNotFoundError as error:
            if error.name not in ("pulumi", "pulumi_postgresql"):
                raise
            raise ImportError(f"{name} needs Pulumi: pip install 'pgvector-seed[pulumi]'", name=error.name) from error
        return getattr(database, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
