#!/usr/bin/env bash
# Lays libtorch 2.13.0 into third_party/libtorch, where .cargo/config.toml points. See --help.
set -euo pipefail

version=2.13.0
# The C++ library is the same in the wheel for every Python; this one is taken whatever Python runs here.
wheel_python=3.11
wheels=(
    "torch==$version"
    "nvidia-cuda-runtime==13.0.96"
    "nvidia-cuda-cupti==13.0.85"
)
checksums="\
60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7  torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl
7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548  nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8  nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl"

usage() {
    cat <<'TEXT'
usage: scripts/setup.sh [--gpu] [--help]

Lays libtorch 2.13.0 into third_party/libtorch, so that plain `cargo` commands
build and run torch stages. Nothing is done where it is already there.

  --gpu    with CUDA 13 libraries for an NVIDIA card: a download of about 3 GB
           instead of 540 MB; build takt again afterwards

A libtorch 2.13.0 of your own is used instead, and nothing is downloaded:
  LIBTORCH=/path/to/libtorch scripts/setup.sh
It may also be the `torch` directory of a Python environment.

Needs Linux on x86-64, python3 with pip, and a C++ compiler for the build.
TAKTLINE_LIBTORCH_DIR names another directory than third_party/libtorch.
TEXT
}

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf 'help: %s\n' "$line" >&2; done
    exit 1
}

# The version of the libtorch in $1, or nothing where that is no libtorch one can build against.
version_of() {
    local directory=$1
    [[ -e $directory/lib/libtorch.so || -e $directory/lib/libtorch_cpu.so ]] || return 0
    [[ -d $directory/include/torch ]] || return 0
    if [[ -r $directory/build-version ]]; then
        sed 's/+.*//' "$directory/build-version"
    elif [[ -r $directory/version.py ]]; then
        sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p" "$directory/version.py"
    else
        echo unknown
    fi
}

flavour=cpu
for argument in "$@"; do
    case $argument in
        --gpu) flavour=gpu ;;
        -h | --help) usage && exit 0 ;;
        *) fail "unknown option \`$argument\`" "see scripts/setup.sh --help" ;;
    esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${TAKTLINE_LIBTORCH_DIR:-$root/third_party/libtorch}
parent=$(dirname "$target")
mkdir -p "$parent"
# As a path that is the same from every directory.
target=$(cd "$parent" && pwd)/$(basename "$target")
parent=$(dirname "$target")

command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
    say "no C++ compiler found; the build needs one (on Debian or Ubuntu: apt install g++)"

# A libtorch of the user's own.
if [[ -n ${LIBTORCH:-} && $(realpath -m "$LIBTORCH") != $(realpath -m "$target") ]]; then
    found=$(version_of "$LIBTORCH")
    case $found in
        "$version") ;;
        unknown) say "LIBTORCH=$LIBTORCH does not say its version; $version is needed" ;;
        "") fail "LIBTORCH=$LIBTORCH is no libtorch: it needs lib/libtorch.so and include/torch" "unset LIBTORCH to have one downloaded" ;;
        *) fail "LIBTORCH=$LIBTORCH is version $found, but $version is needed" "unset LIBTORCH to have it downloaded" ;;
    esac
    [[ ! -e $target || -L $target ]] ||
        fail "$target is already there, beside your LIBTORCH" "remove it to use yours everywhere, or unset LIBTORCH"
    ln -sfn "$(realpath "$LIBTORCH")" "$target"
    say "libtorch $found: $target -> $(readlink "$target")"
    exit 0
fi

# Already there: by this script (its stamp is the last file it writes), or by hand.
stamp=$target/.taktline
if [[ -r $stamp && $(<"$stamp") == "$version $flavour" ]]; then
    say "libtorch $version ($flavour) is in $target"
    exit 0
fi
if [[ ! -r $stamp && $flavour == cpu && $(version_of "$target") == "$version" ]]; then
    say "libtorch $version is in $target (not laid out by this script)"
    exit 0
fi

[[ $(uname -s) == Linux && $(uname -m) == x86_64 ]] ||
    fail "libtorch is downloaded for Linux on x86-64 only, and this is $(uname -s) on $(uname -m)" \
        "set LIBTORCH to a libtorch $version of your own, or build without torch: cargo build --no-default-features"
command -v python3 >/dev/null || fail "python3 is needed to download libtorch" "on Debian or Ubuntu: apt install python3 python3-pip"
python3 -m pip --version >/dev/null 2>&1 ||
    fail "python3 has no pip, which is needed to download libtorch" "on Debian or Ubuntu: apt install python3-pip"

# Everything happens beside the target and is renamed at the end: an interrupted run leaves nothing half-done.
work=$(mktemp -d "$parent/.libtorch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

pip_for_wheels=(
    python3 -m pip --disable-pip-version-check
)
platform=(
    --only-binary=:all: --implementation cp --python-version "$wheel_python"
    --abi "cp${wheel_python/./}" --abi abi3 --abi none --platform manylinux2014_x86_64 --platform linux_x86_64
)
for glibc in {28..5}; do platform+=(--platform "manylinux_2_${glibc}_x86_64"); done

say "downloading ${wheels[*]}"
"${pip_for_wheels[@]}" download --quiet --no-deps --dest "$work/wheels" "${platform[@]}" "${wheels[@]}" ||
    fail "the download failed" "try again; or set LIBTORCH to a libtorch $version of your own"
(cd "$work/wheels" && sha256sum --check --quiet <<<"$checksums") ||
    fail "what was downloaded is not what was published" "try again; the sums are in scripts/setup.sh"

say "unpacking"
if [[ $flavour == cpu ]]; then
    python3 - "$work/wheels" "$work/libtorch" <<'PYTHON'
import pathlib
import shutil
import sys
import zipfile

wheels, target = map(pathlib.Path, sys.argv[1:])
libraries = {
    "torch/lib/libc10.so",
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
}
headers = "torch/include/"

for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename
            if member.is_dir():
                continue
            if name in libraries:
                place = target / "lib" / pathlib.PurePosixPath(name).name
                libraries.remove(name)
            elif name.startswith(headers):
                place = target / "include" / name.removeprefix(headers)
            else:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(place, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
if libraries:
    sys.exit(f"not in the wheels: {sorted(libraries)}")
# The wheel's own libtorch.so is an empty library that pulls in the CUDA half.
(target / "lib" / "libtorch.so").symlink_to("libtorch_cpu.so")
PYTHON
    laid_out=$work/libtorch
else
    # With everything that the libraries look for beside them: ../../nvidia/*/lib.
    "${pip_for_wheels[@]}" install --quiet --target "$work/gpu" "${platform[@]}" "$work"/wheels/*.whl ||
        fail "the download of the CUDA libraries failed" "try again"
    laid_out=$work/gpu/torch
fi
echo "$version" >"$laid_out/build-version"
echo "$version $flavour" >"$laid_out/.taktline"

# Only what this script laid out, or a link, is ever put aside.
if [[ -L $target ]]; then
    rm "$target"
elif [[ -e $target ]]; then
    [[ -r $stamp ]] || fail "$target is there, but is no libtorch $version" "remove it"
    mv "$target" "$work/old"
fi
if [[ $flavour == cpu ]]; then
    mv "$laid_out" "$target"
else
    rm -rf "$target-gpu"
    mv "$work/gpu" "$target-gpu"
    ln -s "$(basename "$target")-gpu/torch" "$target"
fi
say "libtorch $version ($flavour) is in $target"
