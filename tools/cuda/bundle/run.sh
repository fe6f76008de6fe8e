#!/bin/sh
# Checks Tintype's kernels for CUDA on this computer's GPU, and measures them. Takes minutes; needs
# an NVIDIA driver and Python 3. With PyTorch for CUDA in that Python, its times are put beside
# ours; with compute-sanitizer (part of the CUDA toolkit), small cases run under it.
# usage: run.sh [--quick] [--python PATH]     results: results.json and results.txt beside this file
here=$(cd "$(dirname "$0")" && pwd)
python=python3
quick=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=--quick ;;
    --python) python=$2; shift ;;
    *) sed -n 2,6p "$0"; exit 2 ;;
  esac
  shift
done
chmod +x "$here/tintype-check"
exec "$python" "$here/check.py" $quick
