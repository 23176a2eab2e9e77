# One image for the command, the stages and the service, on x86-64 and arm64.
#
#   docker build -t deepsic .
#   docker buildx build --platform linux/amd64,linux/arm64 -t deepsic .
#   run() { docker run --rm --user "$(id -u)" -v "$PWD:/work" "$@"; }
#   run deepsic deepsic encode photos/ -o sic/
#   run deepsic deepsic-archive photos/ archive/
#   run -p 8000:8000 deepsic deepsic-serve --host 0.0.0.0 --token-file token.txt
#
# EXTRAS: what to install; `codec` alone is the smallest that encodes (with TORCH empty). On x86-64
# pip's default torch carries CUDA. For an image some gigabytes smaller give PIP_EXTRA_INDEX_URL, the index of PyTorch's
# CPU builds, and TORCH, such as "torch==2.14.1+cpu".
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build==1.6.1 \
    && python -m build --wheel --outdir /wheel

FROM python:3.11-slim
ARG EXTRAS=pipelines,serve
ARG TORCH=torch
ARG PIP_EXTRA_INDEX_URL=
RUN useradd --create-home --uid 10001 deepsic \
    && install --directory --owner=deepsic /work
# hadolint ignore=DL3013
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-cache-dir ${TORCH:+"${TORCH}"} "deepsic[${EXTRAS}] @ file://$(ls /wheel/*.whl)"
USER 10001
# Whichever user the container runs as: a home and a cache of compiled loops that it may write.
ENV HOME=/tmp USER=deepsic NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /work
EXPOSE 8000
CMD ["deepsic", "--help"]
