# harness in an image, for CPUs or for NVIDIA GPUs: docs/docker.md says how to build it and what to type.
ARG PYTHON=3.12

# A wheel that brings the native library along, so that the image needs no compiler.
FROM python:${PYTHON}-bookworm AS wheel
WORKDIR /source
COPY . .
RUN python -m harness.ensemble.native.prebuild
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:${PYTHON}-slim-bookworm
# Where torch is taken from: the CPU build is a tenth as large as the one with CUDA, which is on PyPI.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=dask,data,export,tensorboard
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    python -m pip install --no-cache-dir -c /constraints.txt --extra-index-url "${TORCH_INDEX}" \
    "$(echo /wheel/*.whl)[${EXTRAS}]"

# Whoever runs it, with whatever number, finds a home that can be written to.
ENV HOME=/tmp PYTHONUNBUFFERED=1
RUN useradd --uid 1000 --home-dir /work --create-home harness
USER harness
WORKDIR /work
ENTRYPOINT ["harness"]
CMD ["--help"]
