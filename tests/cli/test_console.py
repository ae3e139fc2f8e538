"""Tables on the console print what they are given."""

from rich.table import Table

from harness.cli.console import Console


def test_brackets_and_colons_in_a_cell_are_printed_as_they_stand(capsys):
    table = Table("remedy")
    table.add_row("pip install 'harness[data]' :smile:")
    Console().print(table)
    assert "pip install 'harness[data]' :smile:" in capsys.readouterr().out
