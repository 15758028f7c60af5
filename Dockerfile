# An image that runs crew and contains the environment files of this repository:
#   docker build --tag registry.acme.example/groundcrew:1 .
FROM python:3.13-slim-bookworm

# The PostgreSQL clients of every major version (crew uses the lowest one that is not older than the server), ssh for
# tunnels, and one PostgreSQL server for verifications, with bubblewrap to isolate it. The PostgreSQL package repository
# has all versions.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap ca-certificates openssh-client postgresql-common \
    && sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends \
        postgresql-client-13 postgresql-client-14 postgresql-client-15 \
        postgresql-client-16 postgresql-client-17 postgresql-client-18 \
        postgresql-18 \
    && rm -rf /var/lib/apt/lists/*

# Install OpenTofu instead if [terraform] sets program = "tofu".
COPY --from=hashicorp/terraform:1.15.5 /bin/terraform /usr/local/bin/terraform

# PostgreSQL needs a user that has a name. The Kubernetes CronJobs run with these user IDs.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp groundcrew \
    && useradd --uid 10002 --no-create-home --home-dir /var/lib/scratch scratch

WORKDIR /srv/groundcrew
COPY . .
RUN PIP_CONSTRAINT=constraints.txt pip install --no-cache-dir .

ENV CREW_ROOT=/srv/groundcrew
USER 10001
ENTRYPOINT ["crew"]
