#!/usr/bin/env bash
# A stand-in for python:3.13-slim-trixie, made of Debian's packages: where no image registry can be reached.
# Debian and Python are those of the real one, but Python is Debian's build, in /usr instead of /usr/local.
# usage: make_base.sh TAG   wants mmdebstrap and buildah
set -euo pipefail
tag=$1
container=$(buildah from scratch)
mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='force-unsafe-io' trixie - | tar -x -C "$(buildah mount "$container")"
root=$(buildah mount "$container")
for name in python python3; do ln -sf /usr/bin/python3 "$root/usr/local/bin/$name"; done
ln -sf /usr/bin/pip3 "$root/usr/local/bin/pip"
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
buildah umount "$container" >/dev/null
buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 "$container"
buildah commit --quiet --rm "$container" "$tag" >/dev/null
