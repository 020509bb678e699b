# A cellpool worker: `docker compose up worker`, or `docker run -e REDIS_URL=... IMAGE worker`.
ARG NODE_IMAGE=node:22-bookworm-slim

FROM ${NODE_IMAGE} AS build
LABEL org.opencontainers.image.title=cellpool
WORKDIR /app
COPY package.json package-lock.json ./
# No install scripts here and below: cellpool starts opencode's binary for this platform by itself.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts
# npm brings opencode for x64 twice, 177 MB each; the one for all processors is enough, wherever the image goes.
RUN for baseline in node_modules/opencode-*-baseline; do if [ -d "$baseline" ]; then rm -rf "${baseline%-baseline}"; fi; done

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title=cellpool
# git for the cells, ssh and certificates for remotes, procps for test commands that expect `ps`, and ripgrep, which
# opencode would otherwise download for each cell.
RUN apt-get update \
  && apt-get install -y --no-install-recommends git openssh-client ca-certificates procps ripgrep \
  && rm -rf /var/lib/apt/lists/*
# The official Node images bring a user `node`; others may not.
ARG WORKER_UID=1000
RUN if id node >/dev/null 2>&1; then usermod --uid "$WORKER_UID" node; \
  else useradd --create-home --shell /bin/bash --uid "$WORKER_UID" node; fi \
  && install -d -o node -g node /var/lib/cellpool
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
RUN ln -s /app/dist/cli/main.js /usr/local/bin/cellpool && chmod 755 /app/dist/cli/main.js
USER node
WORKDIR /home/node
# One state folder a container: workers on one machine never share it.
ENV CELLPOOL_HOME=/var/lib/cellpool
VOLUME /var/lib/cellpool
ENTRYPOINT ["cellpool"]
CMD ["worker"]
