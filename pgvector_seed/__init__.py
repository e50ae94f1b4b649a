"""Declare a pgvector database, fill it, and prove that its answers are correct."""

TYPE_CHECKING = False  # importing typing would slow down every command
if TYPE_CHECKING:
    from pgvector_seed.infra.args import VectorDatabaseArgs
    from pgvector_seed.infra.database import VectorDatabase
    from pgvector_seed.infra.interrupt import leave_quietly_on_interrupt
    from pgvector_seed.infra.roles import Role, Roles

__all__ = ["Role", "Roles", "VectorDatabase", "VectorDatabaseArgs", "leave_quietly_on_interrupt"]
_HOMES = {
    "Role": "roles",
    "Roles": "roles",
    "VectorDatabase": "database",
    "VectorDatabaseArgs": "args",
    "leave_quietly_on_interrupt": "interrupt",
}

if not TYPE_CHECKING:  # with it, a type checker accepts every name

    def __getattr__(name: str) -> object:
        """Import the component at its first use: it needs Pulumi, which is an extra.

        Raises ImportError with the command that installs Pulumi if it is missing.
        """
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f"pgvector_seed.infra.{_HOMES[name]}"), name)
        except ModuleNotFoundError as error:
            if error.name not in ("pulumi", "pulumi_postgresql"):
                raise
            from pgvector_seed.common.remedies import IN_CHECKOUT, wheel_path

            install = (
                "python -m pip install -r requirements.txt" if IN_CHECKOUT else f"pip install '{wheel_path()}[pulumi]'"
            )
            raise ImportError(f"{name} needs Pulumi: {install}", name=error.name) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
