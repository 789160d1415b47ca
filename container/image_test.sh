#!/usr/bin/env bash
# Builds the image for real and runs it as its users do. Needs no Docker daemon and no image registry: buildah builds,
# podman runs, and a base image that cannot be pulled is replaced by a stand-in, with a line that says so.
# As root on Debian 12 or later; installs buildah, podman, runc, conmon and mmdebstrap where they are missing.
# The first time takes about ten minutes and 25 GB, later ones three.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
export CONTAINERS_CONF=$here/containers.conf
image=localhost/ignite-vision:test
stand_in=localhost/ignite-vision-base:trixie
ROOM=25 # GB: twice the image, its parts on their way, and the wheels in pip's cache

skip() {
  echo "image test skipped: $1"
  exit 0
}

[[ $(id -u) == 0 ]] || skip "it has to run as root"
if ! type buildah podman runc conmon mmdebstrap >/dev/null 2>&1; then
  command -v apt-get >/dev/null || skip "no buildah, podman, runc, conmon and mmdebstrap here, and no apt to install them"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends buildah podman runc conmon mmdebstrap; } >/dev/null 2>&1 \
    || skip "apt could not install buildah, podman, runc, conmon and mmdebstrap"
fi
# copying every layer, as other drivers do, would take ten times the room
driver=$(podman info --format '{{.Store.GraphDriverName}}' 2>/dev/null) || skip "podman does not work here"
[[ $driver == overlay ]] || skip "podman's storage is $driver here, not overlay"
store=$(podman info --format '{{.Store.GraphRoot}}')
free=$(df --output=avail --block-size=1G "$store" | tail -1)
if ! podman image exists "$image"; then
  ((free >= ROOM)) || skip "it wants $ROOM GB free in $store, there are $free"
fi

work=$(mktemp -d)
# a name for each container: podman may still be removing the last one when `podman stop` has returned
name=ignite-vision-test-$$
cleanup() {
  podman rm --force --ignore --volumes "$name"-{resumed,at-once,board,server} >/dev/null 2>&1 || true
  podman volume rm --force "$name" "$name-whole" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

# ---- build

real=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
if podman image exists "$real" || timeout 300 podman pull --quiet "$real" >/dev/null 2>&1; then
  base=$real
  echo "base image: $real"
else
  base=$stand_in
  podman image exists "$base" || "$here/make_base.sh" "$base"
  echo "base image: a STAND-IN of Debian packages, since $real cannot be pulled here"
fi
# the host's certificates, for a network whose proxy has its own
certificates=/etc/ssl/certs/ca-certificates.crt
mounts=()
[[ -f $certificates ]] && mounts=(--volume "$certificates:$certificates:ro")
began=$SECONDS
buildah bud --isolation chroot --format docker --layers "${mounts[@]}" --build-arg "PYTHON_IMAGE=$base" \
  --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" --tag "$image" . >"$work/build.log" 2>&1 || {
  tail -40 "$work/build.log"
  echo "0 passed, 1 failed: the image was not built"
  exit 1
}
echo "built in $((SECONDS - began)) s, $(podman image inspect --format '{{.Size}}' "$image" | awk '{ printf "%.2f GB", $1 / 1e9 }')"

# ---- what a user relies on, a function each

# one thread: two that wait for each other on a busy machine take twenty times as long
box() { timeout 300 podman run --rm --network none --env OMP_NUM_THREADS=1 "$@"; }

expect_code() { # expect_code CODE COMMAND...
  local code=0
  "${@:2}" || code=$?
  ((code == $1)) || { echo "exit code $code instead of $1"; return 1; }
}

wait_for() { # wait_for PATTERN FILE
  for _ in {1..600}; do
    grep -q "$1" "$2" && return
    sleep 0.1
  done
  echo "'$1' did not come:"; cat "$2"
  return 1
}

this_source() {
  box --volume "$PWD:/source:ro" --entrypoint python "$image" -c "
import filecmp, ignite_vision
from pathlib import Path
installed = Path(ignite_vision.__file__).parent
for folder, inside in ((Path('/source/ignite_vision'), installed), (Path('/source/recipes'), installed / 'recipes')):
    names = [path.name for path in folder.glob('*.py')]
    same, other, missing = filecmp.cmpfiles(folder, inside, names, shallow=False)
    assert same and not other and not missing, (other, missing)
"
}

digits_with_nothing() {
  box "$image" run digits | grep '^test accuracy 0.9'
}

doctor() {
  box "$image" doctor | tee "$work/doctor"
  for subject in torch torchvision device cuda "shared memory" "runs folder *  /runs" "data folder *  /data"; do
    grep -q "^$subject" "$work/doctor"
  done
}

no_gpu() {
  expect_code 2 box "$image" run digits --device cuda 2>"$work/error"
  cat "$work/error"
  (($(wc -l <"$work/error") == 1))
  grep -qE '^error: cuda is not available: (no NVIDIA driver is visible|the host has an NVIDIA driver)' "$work/error"
}

gpu_not_used() { # what `docker run --gpus all` sets, without a toolkit behind it
  box --env NVIDIA_VISIBLE_DEVICES=all "$image" run digits --epochs 1 2>&1 | tee "$work/warning"
  (($(grep -c '^warning: training on the CPU, although a GPU seems to be here: a GPU was requested' "$work/warning") == 1))
}

photos() { # a folder of images that no cache, no weights and no data set's file comes with
  mkdir -p "$work/photos"
  box --user 0 --volume "$work/photos:/photos" --entrypoint python "$image" -c "
import numpy as np
from pathlib import Path
from PIL import Image
random = np.random.default_rng(0)
for c, name in enumerate(('apple', 'banana', 'cherry')):
    (Path('/photos') / name).mkdir()
    for i in range(60):
        pixels = random.integers(0, 80, (280, 260, 3)) + np.array([90 * (c == k) for k in range(3)])
        Image.fromarray(pixels.astype(np.uint8)).save(f'/photos/{name}/{i:02}.jpg')
"
}

hardened() { # and with 64 MB of shared memory, which is what Docker gives, and workers that need it
  mkdir -p "$work/mine" && chown 12345:23456 "$work/mine"
  box --user 12345:23456 --read-only --read-only-tmpfs=false --cap-drop ALL --security-opt no-new-privileges \
    --shm-size 64m --volume "$work/photos:/data/photos:ro" --volume "$work/mine:/runs" "$image" \
    run /data/photos --out /runs/photos --set weights=none --set model=squeezenet1_0 --set cache=none --set image_size=224 \
    --workers 2 --epochs 1 2>&1 | tee "$work/log"
  grep -q 'of 2 loader workers: shared memory is small' "$work/log"
  [[ $(stat -c %u:%g "$work/mine/photos/model.safetensors") == 12345:23456 ]]
}

resume_outside() {
  ignite-vision resume "$work/mine/photos" --data "$work/photos" --epochs 2
  (($(wc -l <"$work/mine/photos/history.jsonl") == 2))
}

not_mine() {
  mkdir -p "$work/roots" && chmod 755 "$work/roots"
  expect_code 2 box --user 12345:23456 --volume "$work/roots:/runs" "$image" run digits 2>"$work/error"
  cat "$work/error"
  (($(grep -c . "$work/error") == 1))
  grep -q '^error: cannot write the run directory: Permission denied' "$work/error"
}

folder_of() { echo "$(podman volume inspect --format '{{.Mountpoint}}' "$1")/digits"; }

stop_and_go_on() {
  local command=("$image" run digits --epochs 120 --out /runs/digits)
  box --volume "$name-whole:/runs" "${command[@]}" >/dev/null 2>&1
  box --name "$name-resumed" --volume "$name:/runs" "${command[@]}" >"$work/log" 2>&1 &
  wait_for '^epoch  *5/' "$work/log"
  podman stop --time 60 "$name-resumed" >/dev/null
  expect_code 75 wait $!
  grep '^stopped by SIGTERM after iteration .*, saved' "$work/log"
  box --volume "$name:/runs" "${command[@]}" | grep '^test accuracy'
  for file in history.jsonl metrics.json predictions.csv model.safetensors; do
    cmp "$(folder_of "$name")/$file" "$(folder_of "$name-whole")/$file"
  done
}

stop_at_once() { # while torch is imported: process 1 ignores a signal that it has no handler for
  box --name "$name-at-once" "$image" run digits --epochs 100000 >"$work/log" 2>&1 &
  sleep 1.5
  local began=$SECONDS
  podman stop --time 60 "$name-at-once" >/dev/null
  expect_code 75 wait $!
  ((SECONDS - began < 20))
}

tensorboard() {
  podman run --rm --detach --name "$name-board" --volume "$work/mine:/runs:ro" --entrypoint tensorboard "$image" \
    --logdir /runs --host 127.0.0.1 --port 16006 >/dev/null
  local ask="import sys, time, urllib.request
for _ in range(60):
    time.sleep(1)
    try:
        answer = urllib.request.urlopen('http://127.0.0.1:16006/data/plugin/scalars/tags').read().decode()
    except OSError:
        continue
    if 'photos' in answer:
        sys.exit(print(answer))
sys.exit('no scalars')"
  local code=0
  podman exec "$name-board" python -c "$ask" || code=$?
  podman stop --time 5 "$name-board" >/dev/null
  return $code
}

serve() { # read-only, of the run that was trained above; what a browser and a program ask for
  podman run --rm --detach --name "$name-server" --read-only --cap-drop ALL --security-opt no-new-privileges \
    --env OMP_NUM_THREADS=1 --volume "$work/mine:/runs:ro" --volume "$work/photos:/data/photos:ro" "$image" \
    serve /runs/photos --host 0.0.0.0 --allow-host localhost >/dev/null
  local ask="import json, sys, time, urllib.request
from pathlib import Path
server = 'http://localhost:8000'
for _ in range(120):
    time.sleep(1)
    try:
        page = urllib.request.urlopen(server).read().decode()
        break
    except OSError:
        continue
else:
    sys.exit('no page')
assert '<title>What is in the picture?</title>' in page, page
for name in ('apple', 'banana', 'cherry'):
    image = Path(f'/data/photos/{name}/00.jpg').read_bytes()
    answer = json.load(urllib.request.urlopen(urllib.request.Request(server + '/predict?top=3', image)))
    print(answer)
    assert sorted(row['class'] for row in answer['top']) == ['apple', 'banana', 'cherry'], answer"
  local code=0
  podman exec "$name-server" python -c "$ask" || { code=$?; podman logs "$name-server"; }
  podman stop --time 20 "$name-server" >/dev/null
  return $code
}

# ---- and all of them

passed=0 failed=0
try() { # try SENTENCE FUNCTION
  local began=$SECONDS code
  set +e # `if` would turn errexit off inside of the function
  (set -e; "$2") >"$work/output" 2>&1
  code=$?
  set -e
  if ((code == 0)); then
    passed=$((passed + 1))
    echo "ok      $1 ($((SECONDS - began)) s)"
  else
    failed=$((failed + 1))
    echo "FAILED  $1"
    sed 's/^/        /' "$work/output"
  fi
}

try "the image has this source and no other" this_source
try "digits trains with no network, no GPU and no volume" digits_with_nothing
try "doctor says what a report needs" doctor
try "--device cuda without a GPU is one line, exit 2" no_gpu
try "a GPU that was asked for and is not there is one warning" gpu_not_used
try "a folder of images is made" photos
try "a foreign user trains on it: root read-only, no capabilities, 64 MB shared memory, workers" hardened
try "that run resumes outside of the container" resume_outside
try "a folder of somebody else's is one line, exit 2" not_mine
try "podman stop saves, exit 75, and the same command ends with the same bits" stop_and_go_on
try "podman stop before the training ends at once" stop_at_once
try "TensorBoard, of the same image, shows the run" tensorboard
try "the image serves a run, read-only, to a browser and a program, and stops when it is told" serve
echo "$passed passed, $failed failed"
((failed == 0))
