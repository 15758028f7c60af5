# The image that runs crew, with the environment files of this repository in it:
#   docker build --tag registry.acme.example/groundcrew:1 .
FROM python:3.13-slim-bookworm

# pg_dump of every major version (a server is dumped with the lowest that is not below its own), psql's way through ssh,
# and one server for verifications. They come from PostgreSQL's own packages, which have all versions.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates openssh-client postgresql-common \
    && sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends \
        postgresql-client-13 postgresql-client-14 postgresql-client-15 \
        postgresql-client-16 postgresql-client-17 postgresql-client-18 \
        postgresql-18 \
    && rm -rf /var/lib/apt/lists/*

# Or OpenTofu, where [terraform] says program = "tofu".
COPY --from=hashicorp/terraform:1.13 /bin/terraform /usr/local/bin/terraform

# PostgreSQL wants to know who starts it, so that the user needs a name; the CronJobs run as this number.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp groundcrew

WORKDIR /srv/groundcrew
COPY . .
RUN PIP_CONSTRAINT=constraints.txt pip install --no-cache-dir .

ENV CREW_ROOT=/srv/groundcrew
USER 10001
ENTRYPOINT ["crew"]
