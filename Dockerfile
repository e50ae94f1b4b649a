# `pgvector-seed verify` as a user without rights. docs/verify.md has the commands.
FROM python:3.12-slim
# For the command load: --build-arg REQUIREMENTS=requirements-load.txt
ARG REQUIREMENTS=requirements-seed.txt
COPY ${REQUIREMENTS} /requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement /requirements.txt
# The layout of a wheel: in that of a checkout, remedies would name make targets.
COPY pgvector_seed /app/pgvector_seed
COPY seed /app/pgvector_seed/seed
ENV PYTHONPATH=/app
RUN python -m compileall -q /app
# The user nobody. Kubernetes' runAsNonRoot wants a number, and libpq an entry in /etc/passwd.
USER 65534:65534
ENTRYPOINT ["python", "-m", "pgvector_seed.seed"]
CMD ["verify"]
