"""The command line: ``python studies.py --model mlp --trials 50``.

Options in, one call out. What they mean is in ``search/``; nothing here is worth a test that does
not run the command.
"""

from __future__ import annotations

import sys

import typer

from data_utils.errors import DataError
from data_utils.safe_text import for_terminal
from search.commands.clusters import proxy
from search.commands.compare import compare
from search.commands.control import cancel, enqueue, pause, resume, stop
from search.commands.dashboard import dashboard
from search.commands.export import export
from search.commands.informe import informe
from search.commands.manage import copy, delete, list_, show, status
from search.commands.predict import predict
from search.commands.report import report
from search.commands.search import search
from search.commands.workers import init, worker
from search.errors import SearchError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.callback(invoke_without_command=True)(search)
app.command()(worker)
app.command()(init)
app.command()(proxy)
app.command("list")(list_)
app.command()(status)
app.command()(show)
app.command()(dashboard)
app.command()(copy)
app.command()(delete)
app.command()(compare)
app.command()(report)
app.command()(informe)
app.command()(export)
app.command()(predict)
for verb in (pause, resume, stop, cancel, enqueue):
    app.command()(verb)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 2 for a mistake of the user."""
    try:
        return app(args=arguments, standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except typer.TyperException as error:
        line, status = error.format_message(), 2
    except DataError as error:
        line, status = str(error), 2
    except SearchError as error:
        line, status = str(error), error.exit_status
    print(f"error: {' '.join(for_terminal(line).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
