# PostgreSQL and Prometheus of Debian's packages, in the place of the images that compose.yaml names: for machines without
# an image registry, to try the stack with. One image, two targets.
ARG BASE
FROM ${BASE} AS packages
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends postgresql prometheus \
    && rm -rf /var/lib/apt/lists/* && install -d -o postgres -g postgres /var/lib/postgresql/data

FROM packages AS postgres
COPY stand_in_postgres /start
USER postgres
ENTRYPOINT ["/start"]

FROM packages AS prometheus
RUN install -d -o nobody -g nogroup /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
