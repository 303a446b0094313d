#!/usr/bin/env bash
# Lint the changelog fragments and hold CHANGELOG.rst against what they and the new modules come to.
# Usage: changelog.sh [write] (write: bring CHANGELOG.rst and changelogs/changelog.yaml up to date instead)
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PWD/.build/venv/dev/bin:$PATH

antsibull-changelog lint
if [ -e changelogs/changelog.yaml ]; then antsibull-changelog lint-changelog-yaml changelogs/changelog.yaml; fi

# The entry of the version in galaxy.yml is made from its fragments each time. In a copy: antsibull-changelog
# keeps a list of plugins beside the fragments, and would copy all of .build to ask for them.
copy=.build/changelog
rm -rf "$copy"
mkdir -p "$copy"
for part in galaxy.yml changelogs meta playbooks plugins roles; do
    if [ -e "$part" ]; then cp -R "$part" "$copy"; fi
done
cd "$copy"
python - <<'PYTHON'
import pathlib
import yaml

changes = pathlib.Path("changelogs/changelog.yaml")
if changes.exists():
    document = yaml.safe_load(changes.read_text())
    document["releases"].pop(yaml.safe_load(pathlib.Path("galaxy.yml").read_text())["version"], None)
    changes.write_text(yaml.safe_dump(document))
PYTHON
antsibull-changelog release --reload-plugins
cd - >/dev/null

if [ "${1:-}" = write ]; then
    cp "$copy/CHANGELOG.rst" .
    cp "$copy/changelogs/changelog.yaml" changelogs/
elif ! diff -u CHANGELOG.rst "$copy/CHANGELOG.rst"; then
    echo 'CHANGELOG.rst is not up to date: run make release-notes' >&2
    exit 1
fi
