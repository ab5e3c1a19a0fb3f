# The agent in an environment of its own. It manages the machine that it runs on, so it runs
# as root with the host's namespaces: docker run --privileged --network host --pid host ...
FROM python:3.12-slim AS build
WORKDIR /source
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY agentd agentd
COPY api api
COPY drivers drivers
COPY cli cli
RUN python -m venv /opt/encap \
    && /opt/encap/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /opt/encap/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/encap /opt/encap
ENV PATH=/opt/encap/bin:$PATH
EXPOSE 1216
ENTRYPOINT ["/opt/encap/bin/python", "-I", "-m", "agentd"]
CMD ["run"]
