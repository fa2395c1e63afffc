#!/usr/bin/env bash
# Everything that the CUDA paths have to prove, in nine minutes; the same steps at a tenth of the size on a CPU.
#
#   benchmarks/card.sh prepare              fetch what a machine without a network lacks, as wheels, into .whl/
#   benchmarks/card.sh run [OPTIONS]        install from .whl/ where prunebench is missing, then run the steps
#   benchmarks/card.sh summary [FOLDER]     what a folder of results says
#   benchmarks/card.sh page CARD.JSON...    write the part on GPUs of docs/performance.md, from a run or several
#
# PYTHON names the interpreter, python3 by default. Nothing here changes a setting of the card.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
site=$PWD/runs/card-site
most_megabytes=45

prepare() {
    rm -rf .whl
    local platforms=() version
    for version in 28 27 17; do platforms+=(--platform "manylinux_2_${version}_x86_64"); done
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        "${platforms[@]}" --platform manylinux2014_x86_64 --dest .whl --requirement benchmarks/card/wheels.txt
    local bytes
    bytes=$(cat .whl/*.whl | wc -c)
    echo "$(ls .whl | wc -l) wheels, $((bytes / 1000000)) MB in .whl/"
    [ "$bytes" -le $((most_megabytes * 1000000)) ] || { echo "more than $most_megabytes MB" >&2; exit 1; }
}

# A machine that has no prunebench gets it and the wheels into a folder of its own; no network, nothing of its own changed.
install() {
    "$python" -c 'import prunebench' 2>/dev/null && return
    compgen -G '.whl/*.whl' >/dev/null || { echo "no wheels: run benchmarks/card.sh prepare where there is a network" >&2; exit 2; }
    local offline=(-m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check)
    mkdir -p "$site"
    [ -e "$site/.whl" ] || "$python" "${offline[@]}" --upgrade --target "$site" .whl/*.whl
    touch "$site/.whl"
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
    rm -rf "$site"/prunebench*
    "$python" "${offline[@]}" --no-build-isolation --upgrade --target "$site" .
}

case ${1:-} in
prepare) prepare ;;
run)
    install
    shift
    PYTHONPATH=$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m card run "$@"
    ;;
summary | page) PYTHONPATH=$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m card "$@" ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
