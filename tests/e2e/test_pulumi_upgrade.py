"""A stack whose state was written by an earlier version."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import ask
from tests.e2e.conftest import NOTHING, WHAT_IS_THERE, Stack
from tests.e2e.elsewhere import VERBS
from tests.e2e.roles import assert_no_drift, declare, password
from tests.roles import Names

# As the SDK kept the classes infra.migrations.MigrationsProvider and infra.password.PasswordProvider in a state.
OLD_PROVIDERS = {
    "Migrations": "gASVLgAAAAAAAACMEGluZnJhLm1pZ3JhdGlvbnOUjBJNaWdyYXRpb25zUHJvdmlkZXKUk5QpgZQu",
    "Password": "gASVKgAAAAAAAACMDmluZnJhLnBhc3N3b3JklIwQUGFzc3dvcmRQcm92aWRlcpSTlCmBlC4=",
}
# The rows and their versions: SQL that runs again changes them.
CONTENTS = """
SELECT 'relation', oid::text, xmin::text FROM pg_class WHERE oid >= 16384
UNION ALL SELECT 'schema', oid::text, xmin::text FROM pg_namespace
UNION ALL SELECT 'extension', oid::text, xmin::text FROM pg_extension
UNION ALL SELECT 'rights', oid::text, xmin::text FROM pg_default_acl
UNION ALL SELECT 'migration', id, xmin::text FROM pgvector_seed.migrations
UNION ALL SELECT 'deployment', '', xmin::text FROM pgvector_seed.deployment
UNION ALL SELECT 'role', rolname, rolpassword FROM pg_authid WHERE rolname ~ '{}$'
ORDER BY 1, 2
"""


def go_back(stack: Stack) -> None:
    """Rename the providers' classes in the state to their names before the package pgvector_seed."""
    exported = json.loads(stack.pulumi("stack", "export", "--show-secrets"))
    dynamic = [one for one in exported["deployment"]["resources"] if one["type"].rpartition(":")[2] in OLD_PROVIDERS]
    for resource in dynamic:
        for side in ("inputs", "outputs"):
            resource[side]["__provider"] = OLD_PROVIDERS[resource["type"].rpartition(":")[2]]
    assert len(dynamic) == 3
    stack.write("state.json", json.dumps(exported))
    stack.pulumi("stack", "import", "--file", "state.json")


def test_providers_that_have_moved_are_learnt_by_one_up(stack: Stack, names: Names) -> None:
    """Refresh and destroy fail harmlessly until one up, without SQL, has updated the providers' classes."""

    def contents() -> Any:
        return ask(stack.conninfo, CONTENTS.format(names.owner.split()[-1]))

    declare(stack, names)
    stack.up()
    before, secret = contents(), password(stack, "writer")
    go_back(stack)
    for verb in ("refresh", "up --refresh"):
        assert "No module named 'infra'" in stack.pulumi(*VERBS[verb], code=1)
    updated = stack.up()
    assert "3 updated" in updated
    assert "27 unchanged" in updated
    assert "applied in" not in updated
    assert (contents(), password(stack, "writer")) == (before, secret)
    assert_no_drift(stack)

    go_back(stack)
    for verb in ("destroy --run-program", "destroy"):
        assert "No module named 'infra'" in stack.pulumi(*VERBS[verb], code=1)
    assert contents() == before
    stack.up()  # gives again the rights that the state has forgotten
    assert_no_drift(stack)
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING
