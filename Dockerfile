FROM python:3.12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends git openssh-client \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements/runtime.lock requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
RUN useradd --create-home --uid 10001 jobs && mkdir /state && chown jobs /state
USER jobs
ENV JOBRECONCILER_STATE_DIR=/state
VOLUME /state
EXPOSE 8484
# As PID 1 the daemon drains on SIGTERM: give it the time your longest job needs.
ENTRYPOINT ["jobreconciler"]
CMD ["run"]
