#!/usr/bin/env bash
# Run every ansible-test sanity test that needs no container, on a copy of the checkout.
# Usage: sanity.sh ENVIRONMENT (a name under .build/venv); needs tests/tools/environments.py setup ENVIRONMENT first.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
environment=$1
work=$root/.build/sanity/$environment
collection=$work/ansible_collections/hardened/clickstack
home=$work/home # one for each environment, as several may run at a time

# ansible-test wants the folder names of an installed collection, and lints whatever lies in it:
# so it gets what git knows or would add, and nothing that make built.
rm -rf "$work/ansible_collections"
mkdir -p "$collection"
(cd "$root" && git ls-files -z --cached --others --exclude-standard) |
    (cd "$root" && while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done) |
    tar -C "$root" --null --files-from=- -cf - | tar -C "$collection" -xf -
# A repository of its own: otherwise ansible-test asks the checkout's, which ignores everything below .build.
git -C "$collection" init -q

# ansible-test keeps its environments and downloads below HOME. Its own HOME keeps the user's clean, and a
# get_pip that only starts Python's ensurepip, for every pip version it may ask for, spares it a download.
mkdir -p "$home/.ansible/test/cache" "$home/.config"
ansible_test=$("$root/.build/venv/$environment/bin/python" -c 'import ansible_test; print(*ansible_test.__path__)')
grep -oE "pip='[0-9.]+'" "$ansible_test/_internal/python_requirements.py" | grep -oE '[0-9.]+' | while read -r version; do
    printf 'import ensurepip\nensurepip.bootstrap()\n' >"$home/.ansible/test/cache/get_pip_${version//./_}.py"
done
# pip's configuration (an index, a certificate) is the user's all the same.
for configuration in .config/pip .pip; do
    if [ -e "$HOME/$configuration" ]; then ln -sfn "$HOME/$configuration" "$home/$configuration"; fi
done

# The shellcheck binary comes with the other checks; a folder with nothing else in it keeps their ansible-test out of the way.
mkdir -p "$root/.build/shellcheck"
ln -sfn ../venv/dev/bin/shellcheck "$root/.build/shellcheck/shellcheck"

# Real interpreters only: pyenv's shims answer for versions that are not active, and then fail.
pythons=$(python3 "$root/tests/tools/environments.py" pythons | cut -d' ' -f2- | xargs -n1 dirname | sort -u)
path=$root/.build/venv/$environment/bin:$root/.build/shellcheck
for folder in $pythons $(tr ':' '\n' <<<"$PATH" | grep -v '/shims$'); do path=$path:$folder; done

cd "$collection"
HOME=$home PATH=$path ansible-test sanity --color no --truncate 0
