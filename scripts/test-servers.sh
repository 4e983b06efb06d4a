#!/usr/bin/env bash
# Gets what the tests need besides this repository, where it is missing: PostgreSQL and MariaDB (Debian packages) and moto, which
# speaks S3 (from PyPI, into ~/.cache/taktline/moto); the tests start them for themselves, on free ports and in temporary folders.
# A font with Chinese letters, for pictures. And MovieLens-100K (datasets/pull).
set -euo pipefail

missing=()
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null || missing+=(postgresql)
[[ -x /usr/sbin/mariadbd ]] || command -v mariadbd >/dev/null || missing+=(mariadb-server)
compgen -G '/usr/share/fonts/*/wqy/*.ttc' >/dev/null || fc-list ':lang=zh' 2>/dev/null | grep -q . || missing+=(fonts-wqy-microhei)
if ((${#missing[@]})); then
    if ! command -v apt-get >/dev/null; then
        echo "test-servers: error: install ${missing[*]} (here they cannot be installed with apt-get)" >&2
        exit 1
    fi
    as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo)
    echo "test-servers: installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

moto=$HOME/.cache/taktline/moto
if ! "$moto/bin/python3" -c 'import boto3, flask, flask_cors, moto' 2>/dev/null; then
    echo "test-servers: installing moto into $moto"
    rm -rf "$moto"
    python3 -m venv "$moto"
    "$moto/bin/pip" install --quiet --disable-pip-version-check 'moto[s3]==5.2.5' flask flask-cors
fi

# One pipeline learns from data that may be used but not passed on.
"$(dirname "${BASH_SOURCE[0]}")/../datasets/pull" movielens
