# A slim Python, not nvidia/cuda: PyTorch's wheels bring the CUDA libraries (nvidia-* packages), a CUDA image would
# hold them twice. The host gives the driver, through the NVIDIA container toolkit. docs/container.md has the rest.
# No "# syntax=" line: nothing here is newer than Docker 23, Podman 4 and Buildah 1.28.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# Empty: what requirements.lock says, hash by hash. Set, torch and torchvision come from there, both:
#   --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu      no GPU
#   --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126    a driver or a GPU too old for CUDA 13
ARG TORCH_INDEX=""
ARG TORCH="torch torchvision"
COPY requirements.lock /requirements.lock
# TORCH is several words; another index has other versions, so they cannot be pinned here. Of the lock the
# lines of torch and its CUDA are left out then, and the hashes.
# hadolint ignore=DL3013,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -z "${TORCH_INDEX}" ]; then pip install --require-hashes -r /requirements.lock; \
    else pip install --index-url "${TORCH_INDEX}" ${TORCH} \
      && sed -n -E '/^(torch|torchvision|triton|cuda-.*|nvidia-.*)==/d; s/^([a-z].*) \\$/\1/p' /requirements.lock \
         > /requirements.txt \
      && pip install -r /requirements.txt; fi

# The project in a separate stage and layer: a changed line of it does not copy gigabytes again
FROM packages AS project
WORKDIR /source
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY ignite_vision ./ignite_vision
COPY recipes ./recipes
RUN pip wheel --no-deps --no-build-isolation --no-cache-dir --wheel-dir /wheel .

FROM ${PYTHON_IMAGE} AS runtime
# 1777: any --user may write into a fresh volume, which takes over the mode of the folder that it covers
RUN groupadd --gid 1000 app \
 && useradd --uid 1000 --gid 1000 --create-home --no-log-init app \
 && install -d -o app -g app -m 1777 /cache /data /runs
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# copied, not mounted: Buildah 1.28 does not see that a mounted wheel has changed, and keeps the old one
COPY --from=project /wheel /wheel
RUN pip install --no-deps --no-index --no-cache-dir /wheel/*.whl && pip check
# USER and HOME: an id given with --user has no line in /etc/passwd, and getpass.getuser(), which torch calls, fails.
# NVIDIA_VISIBLE_DEVICES is left to `--gpus`: so that doctor can tell whether a GPU was requested.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    USER=app HOME=/home/app \
    XDG_CACHE_HOME=/cache TORCH_HOME=/cache/torch TORCHINDUCTOR_CACHE_DIR=/cache/inductor TRITON_CACHE_DIR=/cache/triton \
    IGNITE_VISION_RUNS=/runs IGNITE_VISION_DATA=/data \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ignite-vision" \
      org.opencontainers.image.description="Train, evaluate and keep image classifiers with PyTorch-Ignite" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /runs
VOLUME ["/cache", "/data", "/runs"]
USER 1000:1000
# `docker stop` sends it, and a run saves and leaves with 75. No HEALTHCHECK: a training has nothing to be asked
STOPSIGNAL SIGTERM
ENTRYPOINT ["ignite-vision"]
CMD ["--help"]
