#!/bin/sh
# Installs scrapsort from this folder, without a network: sudo ./install.sh. Made for JetPack @JETPACK@.
set -e
cd "$(dirname "$0")"
say() { echo "install.sh: $*" >&2; }

if [ "$(id -u)" != 0 ]; then say "run it as root: sudo ./install.sh"; exit 1; fi
if ! sha256sum --quiet -c SHA256SUMS; then say "the archive is damaged; copy it again"; exit 1; fi
arch=$(dpkg --print-architecture)
if [ "$arch" != @ARCH@ ]; then say "this archive is for @ARCH@, this machine is $arch"; exit 1; fi
python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$python" != @PYTHON@ ]; then
    say "this archive is for Python @PYTHON@ (JetPack @JETPACK@), this machine has $python; make one for its JetPack"
    exit 1
fi
# Where the package looks for them, now and after an upgrade with the same pins
mkdir -p /var/cache/scrapsort
cp -r wheels /var/cache/scrapsort/
# Settings that were changed stay, and nobody is asked: the belt would stand until somebody answers
dpkg --force-confdef --force-confold -i scrapsort_*.deb
scrapsort-setup
if [ -e /etc/nv_tegra_release ] && ls wheels/build/pycuda-* >/dev/null 2>&1; then
    say "compiling pycuda, which takes minutes; without it TensorRT is not used"
    scrapsort-setup --pycuda || say "pycuda could not be compiled; ONNX Runtime sorts meanwhile"
fi
scrapsort doctor --state /var/lib/scrapsort
