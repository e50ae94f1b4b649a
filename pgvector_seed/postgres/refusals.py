"""The message and the remedy for a connection that libpq or the server refuses.

libpq keeps the SQLSTATE of a refused login to itself, so the words must do.
"""

from __future__ import annotations

import re

from pgvector_seed.common.remedies import in_checkout, setting, settings

_ALL_FAILURES = "Multiple connection attempts failed. All failures were: "
_NOISE = re.compile(r"connection (?:failed|is bad): |Is the server running .*")
# Parameters that libpq refuses before it dials.
_INVALID = re.compile(r"connection is bad: (?:invalid|weak|could not parse) |could not match \d")

_ROOT = f"Set PGSSLROOTCERT (Pulumi: {setting('sslrootcert')}) to"
_LOGIN = f"Set PGPASSWORD or PGPASSFILE (Pulumi: {setting('password')}) to this user's password"
_CERTIFICATE = f"Set PGSSLCERT and PGSSLKEY (Pulumi: {settings('sslcert', 'sslkey')}) to a certificate"
_KEY = f"Set PGSSLKEY (Pulumi: {setting('sslkey')}) to the file of the certificate's private key, in PEM format."
_OPTIONS = "Fix or unset PGOPTIONS, or the service file's options: the server or a pooler refuses them."
_WAIT = "Wait until other sessions have ended, or raise the limit"
_FULL = (
    "The server is full. Wait, raise max_connections, which needs a restart, or end sessions that are not needed: "
    "SELECT pid, usename, state FROM pg_stat_activity;"
)
# Part of a message of libpq or the server -> remedy. The first match counts.
_REMEDIES = {
    "password authentication failed": f"{_LOGIN}, which may also have expired: ALTER ROLE ... VALID UNTIL.",
    "no password supplied": f"{_LOGIN}.",
    '"!password" failed': (
        "Another program may have taken the server's port, and would get the password. If this is the intended server: "
        "PGREQUIREAUTH=password before the same command (Pulumi: require_auth=password in a service file)."
    ),
    '"scram-sha-256" failed': (
        "PGREQUIREAUTH requires proof that the server knows the password, which this one does not give: check PGHOST "
        "and PGPORT."
        + in_checkout(
            " If you expect the server that make brings, it is down or has another port. "
            'Run: make up; eval "$(make env)"'
        )
    ),
    "certificate verify failed": (
        f"{_ROOT} the certificate of the server's authority. If it is, the server's own certificate has expired. "
        "For PGSSLROOTCERT=system, SSL_CERT_FILE is the file of the system's authorities."
    ),
    "does not match host name": (
        f"Set PGHOST (Pulumi: {setting('host')}) to a name in the certificate; PGHOSTADDR may then have the address."
    ),
    "root certificate": f"{_ROOT} the file of the authority's certificate.",
    "has group or world access": "Only its owner may read a key: chmod 600 FILE.",
    "must be owned by": "The key must belong to the user that runs the command, or to root: chown USER FILE.",
    "key values mismatch": f"{_CERTIFICATE} and its private key, which belong together.",
    "private key file": _KEY,
    "certificate file": f"{_CERTIFICATE} in PEM format and its private key.",
    "valid client certificate": f"{_CERTIFICATE} that the server accepts.",
    "certificate required": f"{_CERTIFICATE} that the server accepts.",
    "definition of service": "Check PGSERVICE and PGSERVICEFILE.",
    "too many connections for role": f"{_WAIT}: ALTER ROLE ... CONNECTION LIMIT N.",
    "too many connections for database": f"{_WAIT}: ALTER DATABASE ... CONNECTION LIMIT N.",
    "too many clients": _FULL,
    "connection slots are reserved": _FULL,
    "too many": f"{_WAIT}.",
    "unrecognized configuration parameter": _OPTIONS,
    "unsupported startup parameter": _OPTIONS,
    "invalid value for parameter": _OPTIONS,
    "invalid command-line argument": _OPTIONS,
    "permission denied to set": _OPTIONS,
    "permission denied for database": "The database's owner can allow it: GRANT CONNECT ON DATABASE ... TO ...",
    "not in hot standby mode": "Set PGHOST and PGPORT to a standby, or unset PGTARGETSESSIONATTRS.",
    "session is read-only": "Set PGHOST and PGPORT to the primary, or unset PGTARGETSESSIONATTRS.",
    "server is in hot standby mode": "Set PGHOST and PGPORT to the primary, or unset PGTARGETSESSIONATTRS.",
    # starting up, shutting down, in recovery mode
    "the database system is": "The server is not ready yet: run the same command again in a moment.",
    'FATAL: role "': f"Check PGUSER (Pulumi: {setting('user')}) and, if it sets a role, PGOPTIONS.",
    "does not exist": f"Check PGDATABASE and PGUSER (Pulumi: {settings('database', 'user')}).",
    "SSL": f"Set PGSSLMODE (Pulumi: {setting('sslmode')}) to a mode that the server supports.",
}
# Names are removed, as they may contain the words of a message, but not the methods of authentication.
_QUOTED = re.compile(r'"([^"]*)"|(?<=host )\'[^\']*\'')
_METHODS = ("!password", "scram-sha-256")
OWN_IS_DOWN = in_checkout('The server that make brings is down. Run: make up; eval "$(make env)"')
_CHECK = f"Check {{}} (Pulumi: {settings('host', 'port')}), and that the server is running."


def is_invalid(error: Exception) -> bool:
    """Return True if libpq refused a parameter, before it dialed a server."""
    return _INVALID.search(str(error)) is not None


def message_of(error: Exception, default_host: str | None) -> str:
    """Return the reasons why a connection failed, each once. ``default_host`` is the environment's.

    libpq gives a reason twice, with TLS and without. psycopg reports a host from the environment as None, and after
    several attempts the last failure, and then all of them.
    """
    reasons = [" ".join(_NOISE.sub("", line).split()) for line in str(error).splitlines()]
    message = " ".join(filter(None, dict.fromkeys(reasons)))
    return message.replace("host None", f"host {default_host!r}").rpartition(_ALL_FAILURES)[2]


def remedy_of(message: str, default_address: str | None) -> str:
    """Return the remedy for a message. ``default_address`` is PGHOSTADDR, which wins over a host."""
    check = _CHECK.format("PGHOSTADDR, PGHOST and PGPORT" if default_address else "PGHOST and PGPORT")
    words = _QUOTED.sub(lambda quoted: quoted[0] if quoted[1] in _METHODS else '""', message)
    return next((remedy for part, remedy in _REMEDIES.items() if part in words), check)
