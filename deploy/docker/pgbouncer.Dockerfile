# PgBouncer as Debian 13 has it (1.24), with deploy/pgbouncer/pgbouncer.ini. Only for those who put it before the api.
# Build from the repository: docker build -f deploy/docker/pgbouncer.Dockerfile .
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends pgbouncer && rm -rf /var/lib/apt/lists/*
COPY deploy/pgbouncer/pgbouncer.ini /etc/pgbouncer/pgbouncer.ini
COPY --chmod=755 deploy/pgbouncer/start.sh /usr/local/bin/start-pgbouncer
USER 10001:10001
EXPOSE 6432
# Transactions under way end, then it goes.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/6432"]
ENTRYPOINT ["start-pgbouncer"]
