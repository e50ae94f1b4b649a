# `pgvector-seed verify` as a user without rights. docs/verify.md has the commands.
FROM python:3.12-slim
COPY requirements-seed.txt /
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement /requirements-seed.txt
# As a wheel has them, without the checkout whose make targets the remedies would name.
COPY pgvector_seed /app/pgvector_seed
COPY seed /app/pgvector_seed/seed
ENV PYTHONPATH=/app
RUN python -m compileall -q /app
# nobody, by number: Kubernetes does not know the name. libpq wants an entry in /etc/passwd.
USER 65534:65534
ENTRYPOINT ["python", "-m", "pgvector_seed.seed"]
CMD ["verify"]
