# One image for all services and the command line: python -m services.NAME, or voldesk COMMAND.
# docker compose build; docs/deployment.md says how it is run.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /app
RUN python -m venv /opt/venv
# packages first: their layer stays as long as the lock does
COPY requirements.lock .
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
# "telegram", "notify" and "parquet", any of them, with blanks between; none keeps the image small
ARG EXTRAS=""
COPY requirements-telegram.lock requirements-notify.lock requirements-parquet.lock ./
RUN for extra in ${EXTRAS}; do \
        /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
            -r "requirements-$extra.lock" || exit 1; done
COPY pyproject.toml README.md ./
COPY shared shared
COPY services services
COPY strategies strategies
COPY voldesk voldesk
COPY world world
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -e . \
    && rm -rf build ./*.egg-info/SOURCES.txt \
    # not needed to run, and a tenth of the image
    && find /opt/venv -type d \( -name tests -o -name test \) -path '*/site-packages/*' \
        \( -path '*/numpy/*' -o -path '*/scipy/*' \) -prune -exec rm -rf {} + \
    && /opt/venv/bin/pip uninstall --quiet --yes pip \
    && /opt/venv/bin/python -m compileall -q /app

FROM ${BASE}
# a number that the host's files can be given to (secrets of a live desk)
RUN groupadd --gid 10001 voldesk \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/voldesk --no-create-home --shell /usr/sbin/nologin voldesk \
    && install -d -o voldesk -g voldesk -m 0700 /var/lib/voldesk
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
COPY voldesk.toml requirements.lock /app/
COPY deploy/compose/containers.toml /app/deploy/compose/
# where volumes are mounted inside the data volume, so that they come into being as the user's
RUN for name in allowed marketdata risk execution strategy monitor exchange recorder operator; do \
        install -d -o voldesk -g voldesk -m 0700 "/var/lib/voldesk/keys/$name" || exit 1; done \
    && chown voldesk:voldesk /var/lib/voldesk/keys && chmod 0700 /var/lib/voldesk/keys \
    # Prometheus is another user, and reads the list of addresses
    && install -d -o voldesk -g voldesk -m 0755 /var/lib/voldesk/prometheus
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VOLDESK_CONFIG=/app/voldesk.toml \
    VOLDESK_OVERLAY=/app/deploy/compose/containers.toml \
    VOLDESK_RUN_DIR=/var/lib/voldesk \
    VOLDESK_SECRETS_DIR=/run/secrets
USER voldesk
STOPSIGNAL SIGTERM
CMD ["voldesk", "--help"]
