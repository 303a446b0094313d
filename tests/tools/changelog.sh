#!/usr/bin/env bash
# Lint the changelog fragments and hold CHANGELOG.rst against them. Usage: changelog.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
antsibull-changelog lint
antsibull-changelog lint-changelog-yaml changelogs/changelog.yaml
# It keeps a list of plugins next to the fragments; the copy spares the checkout that.
copy=.build/changelog
rm -rf "$copy"
mkdir -p "$copy"
cp -R galaxy.yml changelogs plugins "$copy"
(cd "$copy" && antsibull-changelog generate --reload-plugins --output CHANGELOG.rst)
diff -u CHANGELOG.rst "$copy/CHANGELOG.rst"
