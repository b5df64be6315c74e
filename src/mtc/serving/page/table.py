"""Columns and cells of tables of flows and packets: on a phone, a row becomes a card."""

from collections.abc import Iterable

NUMBERS = frozenset({"packets", "bytes", "packet", "flow"})

VERDICT = """
<q-td key="{task}" :props="props">
  <span class="cap">{task}</span>
  <span :class="['verdict', props.row['{task}'].label]">
    <span class="label">{{{{ props.row['{task}'].label }}}}</span>
    <span class="sure">{{{{ props.row['{task}'].sure }}}}</span>
    <i aria-hidden="true" v-if="props.row['{task}'].sure">
      <b :style="{{width: props.row['{task}'].share + '%'}}"></b>
    </i>
  </span>
</q-td>"""

CELL = """
<q-td key="{name}" :props="props"><span class="cap">{name}</span>{{{{ {value} }}}}</q-td>"""

OPENING = """
<q-td key="{name}" :props="props"><span class="cap">{name}</span>
  <button class="open" type="button" v-if="!props.row.closed" @click="$parent.$emit('open', props.row.{name})"
    :aria-label="'Open {name} ' + props.row.{name}">{{{{ props.row.{name} }}}}</button>
  <span v-else>{{{{ props.row.{name} }}}}</span>
</q-td>"""


def head(names: Iterable[str], tasks: Iterable[str]) -> list[dict[str, object]]:
    """Columns: plain ones, then one a task."""
    plain: list[dict[str, object]] = [
        {
            "name": name,
            "label": name,
            "field": name,
            "sortable": True,
            "align": "right" if name in NUMBERS else "left",
        }
        for name in names
    ]
    return plain + [{"name": task, "label": task, "field": task, "align": "left"} for task in tasks]


def cells(opening: str, names: Iterable[str], tasks: Iterable[str]) -> str:
    """The template of a row: a button that opens it, plain cells, a verdict a task."""
    parts = [OPENING.format(name=opening)]
    for name in names:
        value = f"props.row['{name}']" + (".toLocaleString('en')" if name in NUMBERS else "")
        parts.append(CELL.format(name=name, value=value))
    parts += [VERDICT.format(task=task.replace("'", "")) for task in tasks]
    return f'<q-tr :props="props">{"".join(parts)}</q-tr>'
