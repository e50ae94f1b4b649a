"""The Pulumi program of the current folder, run under the SDK's in-process resource monitor."""

from __future__ import annotations

import json
import logging
import os
import runpy
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks, set_mocks, test

from local import stack_file
from local.stack_file import PROJECT
from local.workspace import STACK
from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.interrupt import raise_if_stopped, stop


@dataclass(frozen=True)
class Registered:
    """A resource that the program declares, with its inputs resolved and its secrets in plain text."""

    type: str
    name: str
    inputs: dict[str, Any]


class _Monitor(Mocks):
    def __init__(self, handle: Callable[[Registered], dict[str, Any]]) -> None:
        self.handle = handle

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise InputError(f"the stack calls {args.token}, which needs Pulumi's engine", "Use ENGINE=pulumi")

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        raise_if_stopped()
        inputs = {name: rpc.unwrap_rpc_secret(value) for name, value in args.inputs.items()}
        return args.name, {**args.inputs, **self.handle(Registered(args.typ, args.name, inputs))}


def run(handle: Callable[[Registered], dict[str, Any]], *, preview: bool) -> dict[str, Any]:
    """Run the program, and return the stack's outputs.

    ``handle`` is called with each resource once its inputs are known, and returns the resource's outputs.
    """
    _set_config()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # tasks that are never awaited after a failure
    set_mocks(_Monitor(handle), project=PROJECT, stack=STACK, preview=preview)
    outputs: dict[str, Any] = {}

    @test  # type: ignore[untyped-decorator]  # waits for every resource and output
    def program() -> pulumi.Output[None]:
        runpy.run_path("__main__.py", run_name="__main__")
        stack = pulumi.runtime.get_root_resource()
        return pulumi.Output.from_input(getattr(stack, "outputs", {})).apply(outputs.update)

    # The SDK handles resources in other threads, which a KeyboardInterrupt in this one would leave running.
    on_interrupt = signal.signal(signal.SIGINT, lambda *_: stop())
    try:
        program()
    finally:
        signal.signal(signal.SIGINT, on_interrupt)
    raise_if_stopped()
    return outputs


def _set_config() -> None:
    """Set the variables in which the engine passes the stack's configuration. Raises InputError for a secret."""
    path = Path(os.environ.get("PULUMI_OPTION_CONFIG_FILE", f"Pulumi.{STACK}.yaml"))
    config = stack_file.load(path)["config"]
    secrets = sorted(key for key, value in config.items() if isinstance(value, dict) and "secure" in value)
    if secrets:
        keys = ", ".join(key.removeprefix(f"{PROJECT}:") for key in secrets)
        raise InputError(
            f"{path.name} holds {keys} encrypted, which only Pulumi's engine can read",
            "Remove it there and set PGPASSWORD or PGPASSFILE, or use ENGINE=pulumi",
        )
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    os.environ["PULUMI_CONFIG"] = json.dumps(texts)
    os.environ["PULUMI_CONFIG_SECRET_KEYS"] = "[]"  # noqa: S105  # the names of keys
