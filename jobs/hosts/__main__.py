"""Run the child process of the job `hosts`: python -m jobs.hosts INVENTORY DEPLOY ANSWER."""

from importlib import import_module

if __name__ == "__main__":
    import_module("pyinfra_cli")  # gevent must patch the standard library before other modules import it
    import_module("jobs.hosts.compare").main()
