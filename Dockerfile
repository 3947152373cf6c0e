# One image for every service: study, worker, mlflow, dashboard and the one-shot ones.
#
#   docker build -t title-search .
#   docker build -t title-search --build-arg TORCH_INDEX=URL .    # torch from another index
#
# TORCH_INDEX is the URL of a package index that holds the build of torch you want, such as the
# CPU-only one of the PyTorch project. Without it torch comes from pip's own index, whose build
# for Linux brings several GB of CUDA libraries.

FROM python:3.11-slim AS build
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Without pip: nothing is installed into a running container.
RUN python -m venv --without-pip /venv
WORKDIR /build
COPY requirements.lock .
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -n "$TORCH_INDEX" ]; then \
      pip --python /venv/bin/python install --index-url "$TORCH_INDEX" \
        "$(grep '^torch==' requirements.lock)"; \
    fi && \
    pip --python /venv/bin/python install -r requirements.lock

FROM python:3.11-slim
# A fixed number: Kubernetes' runAsNonRoot needs one, and volumes keep it over image updates.
# What a service writes goes to a volume that it mounts on one of these folders, or to /tmp.
RUN groupadd --gid 10001 search && \
    useradd --uid 10001 --gid search --no-log-init --home-dir /tmp --no-create-home search && \
    install -d -o search -g search /runs /artifacts && \
    install -d -o search -g search -m 0700 /secrets
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=1 \
    GIT_PYTHON_REFRESH=quiet
WORKDIR /app
COPY --from=build /venv /venv
COPY . .
RUN python -m compileall -q .
USER 10001:10001
CMD ["python", "studies.py", "--out", "/runs"]
