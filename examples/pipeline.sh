#!/usr/bin/env bash
# Deploy with Pulumi: preview on a change; up, fill and verify on a merge. docs/pipelines.md says how to use it.
#
#   STACK=prod examples/pipeline.sh preview|deploy
#
# The connection is libpq's (PGHOST, PGUSER, PGPASSWORD, ...). Reports go to $REPORTS, or ./reports.
# Exit codes: 0 success, 1 a wrong result, or Pulumi failed, 2 refused, 3 the database cannot be reached or refuses the login.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"
STACK=${STACK:-${PULUMI_STACK:-}}
REPORTS=${REPORTS:-reports}

preview() {
  pulumi preview --stack "$STACK" --non-interactive --color never 2>&1 | tee "$REPORTS/preview.txt" || exit 1
}

deploy() {
  try_connection
  pulumi up --yes --skip-preview --stack "$STACK" --non-interactive || exit 1
  pulumi stack output --json --stack "$STACK" > "$REPORTS/outputs.json" || exit 1 # its secrets are hidden
  output contract > "$REPORTS/contract.json"
  fill
  PGOPTIONS="${PGOPTIONS:-} $(as_owner)" verify junit
  verify_as reader
  verify_as writer --try-writes
}

# Connects before anything is changed: a wrong password is one line here, but many lines from Pulumi.
try_connection() {
  python - << 'PYTHON'
import sys
from pgvector_seed.postgres.connection import connect
from pgvector_seed.common.errors import Error
try:
    with connect() as connection:
        logged = connection.execute("SHOW log_statement").fetchone()[0]
except Error as error:
    sys.stderr.write(f"error: {error.message}\n  {error.remedy}\n")
    sys.exit(error.exit_code)
if logged != "none":
    print(f"warning: log_statement is {logged}: the server's log keeps the password verifiers of new roles")
PYTHON
}

# Prints a stack output, or a key in it: text as it is, other values as JSON, nothing if it is missing.
output() {
  python - "$REPORTS/outputs.json" "$@" << 'PYTHON'
import json, pathlib, sys
value = json.loads(pathlib.Path(sys.argv[1]).read_text())
for key in sys.argv[2:]:
    value = (value or {}).get(key)
print(value if isinstance(value, str) else json.dumps(value) if value else "")
PYTHON
}

# Writes the report, also if a check fails. GitHub's format needs a second run.
verify() {
  local report=$REPORTS/$1.xml code=0
  local command=(python -m seed verify --strict --contract "$REPORTS/contract.json" "${@:2}")
  "${command[@]}" --format junit --output "$report" || code=$?
  if [[ -n ${GITHUB_STEP_SUMMARY:-} ]]; then
    "${command[@]}" --format github | grep '^::' || true # the first run decides
  fi
  return "$code"
}

# Prints libpq's option to act as the owner, if the stack has roles: a superuser must name the ledger's owner.
as_owner() {
  python - "$REPORTS/contract.json" << 'PYTHON'
import json, pathlib, sys
from pgvector_seed.postgres.conninfo import escaped_role
contract = json.loads(pathlib.Path(sys.argv[1]).read_text())
owners = [table["owner"] for table in contract["tables"] if "roles" in contract]
print(f"-c role={escaped_role(owners[0])}" if owners else "")
PYTHON
}

# Runs a command as the writer or the reader that the stack created. Only its environment has the password.
as() {
  local password
  password=$(pulumi stack output --show-secrets --stack "$STACK" "$1Password") || exit 1
  PGUSER=$(output contract roles "$1") PGPASSWORD=$password "${@:2}"
}

# Inserts the article's vectors: put your own job here. It runs as the writer, if the stack has one.
fill() {
  if [[ -n $(output writerPassword) ]]; then as writer python -m seed sample; else python -m seed sample; fi
}

# With the options after the role.
verify_as() {
  local role
  role=$(output contract roles "$1")
  if [[ -n $(output "$1Password") ]]; then
    as "$1" verify "junit-$1" "${@:2}"
  elif [[ -n $role ]]; then
    echo "Not verified as $role: the stack has no password of a role that it did not create."
  fi
}

refuse() { # error, remedy
  printf 'error: %s\n  %s\n' "$1" "$2" >&2
  exit 2
}

[[ $# == 1 && $1 =~ ^(preview|deploy)$ ]] || refuse "say preview or deploy" "STACK=dev examples/pipeline.sh preview"
[[ -n $STACK ]] || refuse "STACK is not set, nor is PULUMI_STACK" "STACK=dev examples/pipeline.sh $1"
type -P pulumi > /dev/null || refuse "pulumi is not on PATH" "https://www.pulumi.com/docs/install/"
[[ -x .venv/bin/python ]] || refuse ".venv with the packages is missing" "pulumi install"

# With these, the engine writes passwords in plain text into the job's log or into files.
for name in PULUMI_DEBUG_GRPC PULUMI_OPTION_{TRACING,OTEL_TRACES,SHOW_SECRETS} "${!TF_LOG@}"; do
  [[ -z ${!name:-} ]] || refuse "$name is set: secrets would be written in plain text" "unset $name"
done
[[ ${PULUMI_OPTION_VERBOSE:-0} =~ ^[0-8]$ ]] ||
  refuse "PULUMI_OPTION_VERBOSE is above 8: secrets would be written" "unset PULUMI_OPTION_VERBOSE"
[[ $- != *x* ]] || refuse "set -x prints secrets, too" "env -u SHELLOPTS bash examples/pipeline.sh $1"

mkdir -p "$REPORTS"
rm -f "$REPORTS"/{preview.txt,outputs.json,contract.json,junit.xml,junit-reader.xml,junit-writer.xml} # of an earlier run
"$1"
