"""The base class of the dynamic providers that connect to the server."""

from __future__ import annotations

from pulumi.dynamic import ConfigureRequest, ResourceProvider

from pgvector_seed.infra.process import end_with_engine, print_errors_in_one_line


class ConnectingProvider(ResourceProvider):
    """A provider that connects to the server. Its process stops with the engine, and prints errors in one line."""

    serialize_as_secret_always = False

    def configure(self, _request: ConfigureRequest) -> None:
        """Prepare the provider's process. The SDK calls this once, before any other method."""
        end_with_engine()
        print_errors_in_one_line()
