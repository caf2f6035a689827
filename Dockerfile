# The page and the HTTP API of sdsr, as a user without rights: docs/service.md.
FROM python:3.12-slim AS build
# web,methods: with torch, for all embedded models and not the default alone
ARG EXTRAS=web
WORKDIR /src
COPY . .
RUN python -m venv /opt/sdsr && /opt/sdsr/bin/pip install --no-cache-dir --disable-pip-version-check \
    --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt ".[$EXTRAS]"

FROM python:3.12-slim
COPY --from=build /opt/sdsr /opt/sdsr
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sdsr && install -d -o sdsr -g sdsr -m 700 /data
USER 10001:10001
ENV PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 HOME=/tmp
VOLUME /data
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --start-period=60s CMD ["/opt/sdsr/bin/python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/readyz', timeout=5)"]
ENTRYPOINT ["/opt/sdsr/bin/sdsr", "serve", "--host", "0.0.0.0", "--folder", "/data"]
CMD ["--token-file", "/token"]
