#!/usr/bin/env bash
# Renews constraints.txt from a fresh environment: every version pinned, no registry named.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" -m venv "$fresh/venv"
"$fresh/venv/bin/pip" install -q -e '.[dev,train]'
{
  echo "# Versions this release was tested with (Python 3.11, Linux x86-64). Renew: scripts/renew_constraints.sh"
  "$fresh/venv/bin/pip" freeze --exclude-editable | grep -v ' @ ' | sort -f
} > constraints.txt
