#!/usr/bin/env bash
# Hold the built artifact against Galaxy's own import checks, warnings included. Usage: importer.sh
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/.build/importer
rm -rf "$work"
mkdir -p "$work"
cd "$work" # it leaves its result in the current folder
export GALAXY_IMPORTER_CHECK_REQUIRED_TAGS=true
export GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP=$work/tmp
export PATH=$root/.build/venv/dev/bin:$PATH
python -m galaxy_importer.main "$root"/.build/artifact/*.tar.gz | tee output
# It reports what it found as warnings and exits with 0 all the same.
if grep -qE '^(WARNING|ERROR|CRITICAL):' output; then
    echo 'galaxy-importer found something: see the lines above' >&2
    exit 1
fi
