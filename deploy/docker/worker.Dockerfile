# The worker, and `sharedjox` for operators. Build from the repository: docker build -f deploy/docker/worker.Dockerfile .
FROM python:3.13-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# What builds wheels is locked too; nothing that builds gets into the image.
COPY deploy/docker/build.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /build && /build/bin/pip install --require-hashes -r build.lock && \
    python -m venv --without-pip /venv
COPY deploy/docker/worker.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /build/bin/pip wheel --require-hashes --no-build-isolation -w /locked -r worker.lock && \
    /build/bin/pip --python /venv/bin/python install --no-deps --no-index /locked/*.whl
COPY libs/contracts libs/contracts
COPY libs/kit libs/kit
COPY libs/outbox libs/outbox
COPY libs/marketplace libs/marketplace
COPY services/worker services/worker
COPY tools/operator tools/operator
RUN /build/bin/pip wheel --no-deps --no-build-isolation --no-index -w /own \
        ./libs/contracts ./libs/kit ./libs/outbox ./libs/marketplace ./services/worker ./tools/operator && \
    /build/bin/pip --python /venv/bin/python install --no-deps --no-index /own/*.whl && \
    /build/bin/pip --python /venv/bin/python check

FROM python:3.13-slim
COPY deploy/docker/probe.py /usr/local/lib/sharedjox/probe.py
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOG_FORMAT=json \
    WORKER_METRICS_HOST=0.0.0.0 \
    WORKER_METRICS_PORT=9100
USER 10001:10001
EXPOSE 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["python", "-S", "/usr/local/lib/sharedjox/probe.py", "9100", "/healthz"]
ENTRYPOINT ["sharedjox-worker"]
