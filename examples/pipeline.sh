#!/usr/bin/env bash
# The path of a deployment: preview on a change; on a merge up, fill, verify. docs/pipelines.md says how to use it.
#
#   STACK=prod examples/pipeline.sh preview|deploy
#
# The connection is libpq's (PGHOST, PGUSER, PGPASSWORD, ...). Reports go to $REPORTS, or ./reports.
# Exit codes: 0 right, 1 wrong, or Pulumi failed, 2 refused, 3 the database cannot be reached or refuses the login.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"
STACK=${STACK:-${PULUMI_STACK:-}}
REPORTS=${REPORTS:-reports}

preview() {
  pulumi preview --stack "$STACK" --non-interactive --color never 2>&1 | tee "$REPORTS/preview.txt" || exit 1
}

deploy() {
  ask_server
  pulumi up --yes --skip-preview --stack "$STACK" --non-interactive || exit 1
  pulumi stack output --json --stack "$STACK" > "$REPORTS/outputs.json" || exit 1 # its secrets are hidden
  output contract > "$REPORTS/contract.json"
  fill
  PGOPTIONS="${PGOPTIONS:-} $(as_owner)" verify junit
  verify_as reader
  verify_as writer
}

# Asks the server before anything is changed: a wrong password is one line here, and many from Pulumi.
ask_server() {
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

# One of the stack's outputs, or one key of it: bare text, or JSON. What is not there is nothing.
output() {
  python - "$REPORTS/outputs.json" "$@" << 'PYTHON'
import json, pathlib, sys
found = json.loads(pathlib.Path(sys.argv[1]).read_text())
for key in sys.argv[2:]:
    found = (found or {}).get(key)
print(found if isinstance(found, str) else json.dumps(found) if found else "")
PYTHON
}

# The report is kept when a check fails, too. GitHub's summary is a format of its own, so it takes a second look.
verify() {
  local report=$REPORTS/$1.xml code=0
  local command=(python -m seed verify --strict --contract "$REPORTS/contract.json" "${@:2}")
  "${command[@]}" --format junit --output "$report" || code=$?
  if [[ -n ${GITHUB_STEP_SUMMARY:-} ]]; then
    "${command[@]}" --format github | grep '^::' || true # the first look is the verdict
  fi
  return "$code"
}

# libpq's option to act as the owner, where the stack has roles: to a superuser it must be said whose ledger is meant.
as_owner() {
  python - "$REPORTS/contract.json" << 'PYTHON'
import json, pathlib, sys
from pgvector_seed.postgres.conninfo import escaped_role
found = json.loads(pathlib.Path(sys.argv[1]).read_text())
owners = [table["owner"] for table in found["tables"] if "roles" in found]
print(f"-c role={escaped_role(owners[0])}" if owners else "")
PYTHON
}

# Runs a command as the writer or the reader that the stack made. The password is in its environment alone.
as() {
  local password
  password=$(pulumi stack output --show-secrets --stack "$STACK" "$1Password") || exit 1
  PGUSER=$(output contract roles "$1") PGPASSWORD=$password "${@:2}"
}

# The article's vectors: your own job goes here. The writer is enough for it, where there is one.
fill() {
  if [[ -n $(output writerPassword) ]]; then as writer python -m seed sample; else python -m seed sample; fi
}

verify_as() {
  local role
  role=$(output contract roles "$1")
  if [[ -n $(output "$1Password") ]]; then
    as "$1" verify "junit-$1"
  elif [[ -n $role ]]; then
    echo "Not verified as $role: the stack keeps no password of a role that it did not make."
  fi
}

refuse() { # what is wrong, what to type next
  printf 'error: %s\n  %s\n' "$1" "$2" >&2
  exit 2
}

[[ $# == 1 && $1 =~ ^(preview|deploy)$ ]] || refuse "say preview or deploy" "STACK=dev examples/pipeline.sh preview"
[[ -n $STACK ]] || refuse "STACK is not set, nor is PULUMI_STACK" "STACK=dev examples/pipeline.sh $1"
type -P pulumi > /dev/null || refuse "there is no pulumi on PATH" "https://www.pulumi.com/docs/install/"
[[ -x .venv/bin/python ]] || refuse "there is no .venv with the packages" "pulumi install"

# With these the engine writes passwords in plain text, into the log of the job or into files beside it.
for name in PULUMI_DEBUG_GRPC PULUMI_OPTION_{TRACING,OTEL_TRACES,SHOW_SECRETS} "${!TF_LOG@}"; do
  [[ -z ${!name:-} ]] || refuse "$name is set, and would have secrets written in plain text" "unset $name"
done
[[ ${PULUMI_OPTION_VERBOSE:-0} =~ ^[0-8]$ ]] ||
  refuse "PULUMI_OPTION_VERBOSE is above 8, and would have secrets written" "unset PULUMI_OPTION_VERBOSE"
[[ $- != *x* ]] || refuse "set -x prints secrets, too" "env -u SHELLOPTS bash examples/pipeline.sh $1"

mkdir -p "$REPORTS"
rm -f "$REPORTS"/{preview.txt,outputs.json,contract.json,junit.xml,junit-reader.xml,junit-writer.xml} # an earlier run's
"$1"
