# One gateway process; it carries no database driver and no marketplace.
# Build from the repository: docker build -f deploy/docker/ws_gateway.Dockerfile .
FROM python:3.13-slim AS build
# For the gateway's code in C (services/ws_gateway/native); the compiler stays behind in this stage.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 SHAREDJOX_NATIVE=1
# What builds wheels is locked too; nothing that builds gets into the image.
COPY deploy/docker/build.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /build && /build/bin/pip install --require-hashes -r build.lock && \
    python -m venv --without-pip /venv
COPY deploy/docker/ws_gateway.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /build/bin/pip wheel --require-hashes --no-build-isolation -w /locked -r ws_gateway.lock && \
    /build/bin/pip --python /venv/bin/python install --no-deps --no-index /locked/*.whl
COPY libs/contracts libs/contracts
COPY libs/kit libs/kit
COPY services/ws_gateway services/ws_gateway
RUN /build/bin/pip wheel --no-deps --no-build-isolation --no-index -w /own \
        ./libs/contracts ./libs/kit ./services/ws_gateway && \
    /build/bin/pip --python /venv/bin/python install --no-deps --no-index /own/*.whl && \
    /build/bin/pip --python /venv/bin/python check

FROM python:3.13-slim
COPY deploy/docker/probe.py /usr/local/lib/sharedjox/probe.py
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOG_FORMAT=json \
    REVERB_HOST=0.0.0.0 \
    REVERB_PORT=8080
USER 10001:10001
EXPOSE 8080
# SIGTERM begins the drain: not ready, 4200 in waves over DRAIN_SECONDS, exit. Give it that long and ten seconds more.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["python", "-S", "/usr/local/lib/sharedjox/probe.py", "8080", "/healthz"]
ENTRYPOINT ["sharedjox-gateway"]
