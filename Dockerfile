# An image of the command `flows`: docker build -t flows .  With the data of the demo: --build-arg EXTRAS='[demo]'.
# It runs whatever is mounted into /app, with its state in /data: docker run -v ./airport:/app flows worker -A flow.py

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY dsl dsl
COPY flows flows
ARG EXTRAS=""
# All that Flows depends on comes as wheels: no compiler is needed, here or below.
RUN python -m venv /opt/flows && /opt/flows/bin/pip install --no-cache-dir ".${EXTRAS}"

FROM python:3.12-slim
RUN useradd --uid 10001 --no-create-home flows && install --directory --owner=flows /app /data
COPY --from=build /opt/flows /opt/flows
ENV PATH="/opt/flows/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FLOWS_DATA=/data
USER flows
WORKDIR /app
VOLUME /data
EXPOSE 6066
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('FLOWS_WEB_PORT', '6066') + '/health/live', timeout=2)"]
ENTRYPOINT ["flows"]
