# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The looks of the HTML report: one style sheet for light, dark and paper, and for what its filter hides."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --ink: #1b1f27; --soft: #5b6472; --line: #dfe3ea; --code: #eef1f5;
  --critical: #a3123a; --high: #c2410c; --medium: #92640a; --low: #1d5fa8;
  --error: #6d3bb0; --waived: #5b6472; --pass: #1c7a45; --not_applicable: #6c7583;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --card: #1b2029; --ink: #e7eaf0; --soft: #a2abba; --line: #2e3643; --code: #252c38;
    --critical: #ff7d9c; --high: #ff9a62; --medium: #ecbd5a; --low: #7db4f5;
    --error: #c3a0f5; --waived: #a2abba; --pass: #63cf92; --not_applicable: #939dad;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1, h2, h3 { line-height: 1.25; margin: 0; }
h1 { font-size: 2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; display: flex; align-items: baseline; gap: .6rem; }
h2 span { color: var(--soft); font-weight: 400; font-size: 1rem; }
h3 { font-size: .8rem; font-weight: 600; color: var(--soft); margin: 1.1rem 0 .25rem; }
p { margin: .25rem 0; }
a { color: inherit; text-underline-offset: .15em; }
code { font-family: var(--mono); font-size: .875em; }
.kind { color: var(--soft); margin: 0 0 .25rem; }
.verdict { font-size: 1.15rem; margin: .75rem 0 0; }
.critical, .fail { --tone: var(--critical); }
.high { --tone: var(--high); }
.medium { --tone: var(--medium); }
.low { --tone: var(--low); }
.error { --tone: var(--error); }
.waived { --tone: var(--waived); }
.pass { --tone: var(--pass); }
.not_applicable { --tone: var(--not_applicable); }

.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(6.6rem, 1fr)); gap: .6rem; padding: 0;
  margin: 1.5rem 0 .75rem;
}
.tiles li {
  list-style: none; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem;
}
.tiles b {
  display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums; color: var(--tone);
}
.tiles .none b { color: var(--soft); font-weight: 400; }
.tiles span { font-size: .85rem; color: var(--soft); }
.bar { display: flex; gap: 2px; height: .6rem; border-radius: .3rem; overflow: hidden; }
.bar span { background: var(--tone); min-width: 3px; }

.notes { border-left: .25rem solid var(--medium); background: var(--card); padding: .6rem 1rem; margin: 1.5rem 0 0; }
.first {
  background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem;
  margin: 0;
}
.first li { list-style: none; display: grid; grid-template-columns: 5rem 8rem 1fr; gap: .75rem; padding: .35rem 0; }
.first li + li { border-top: 1px solid var(--line); }
.first code { color: var(--soft); padding-top: .1em; }
.word { color: var(--tone); font-weight: 600; }

.filter { display: none; }
@supports selector(:has(*)) {
  .filter {
    display: flex; flex-wrap: wrap; gap: .4rem .85rem; border: 0; padding: 0; margin: 2rem 0 0;
    font-size: .9rem;
  }
  .filter legend { font-weight: 600; padding: 0; float: left; margin-right: .4rem; }
  .filter label { display: inline-flex; align-items: center; gap: .35rem; cursor: pointer; }
  .filter i { width: 1px; background: var(--line); }
}

details {
  background: var(--card); border: 1px solid var(--line); border-left: .3rem solid var(--tone);
  border-radius: .4rem; margin: .6rem 0;
}
summary {
  display: grid; grid-template-columns: 5rem 8rem 1fr auto; gap: .75rem; padding: .65rem 1rem; cursor: pointer;
  list-style: none;
}
summary::-webkit-details-marker { display: none; }
summary::after { content: "+"; color: var(--soft); grid-area: 1 / 4; }
details[open] > summary::after { content: "\\2212"; }
summary strong { font-weight: 600; }
summary code { color: var(--soft); padding-top: .1em; }
summary:hover strong { text-decoration: underline; text-underline-offset: .2em; text-decoration-thickness: 1px; }
:focus-visible { outline: 2px solid var(--low); outline-offset: 2px; }
details:target { box-shadow: 0 0 0 2px var(--tone); }
.body { padding: 0 1rem 1rem; }
.body h3:first-child { margin-top: .1rem; }
.evidence { margin: 0; padding: 0; }
.evidence li {
  list-style: none; background: var(--code); border-radius: .3rem; padding: .45rem .7rem; margin: .3rem 0;
  overflow-wrap: anywhere;
}
.evidence b { font-weight: 600; font-family: var(--mono); font-size: .875em; }
.evidence .text { display: block; white-space: pre-wrap; }
.evidence .word { font-size: .85rem; }
.waiver {
  display: block; border-top: 1px solid var(--line); margin-top: .4rem; padding-top: .35rem; font-size: .9rem;
  color: var(--soft);
}
.answers { color: var(--soft); font-size: .9rem; margin-top: 1.1rem; }
footer {
  margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; color: var(--soft);
  font-size: .875rem;
}

@media (max-width: 38rem) {
  body { padding-top: 1.5rem; }
  summary, .first li { grid-template-columns: auto 1fr; gap: .1rem .75rem; }
  summary::after { display: none; }
  summary strong, .first a { grid-column: 1 / -1; }
}
@media print {
  :root {
    color-scheme: light;
    --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --code: #f4f4f4;
    --critical: #a3123a; --high: #c2410c; --medium: #92640a; --low: #1d5fa8;
    --error: #6d3bb0; --waived: #5b6472; --pass: #1c7a45; --not_applicable: #6c7583;
  }
  @page { margin: 16mm 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .filter, summary::after { display: none; }
  h2, h3 { break-after: avoid; }
  .tiles { grid-template-columns: repeat(8, 1fr); }
  summary { break-after: avoid; }
  .evidence li, .tiles, .first li { break-inside: avoid; }
  details:not([open]) { break-inside: avoid; }
  a { text-decoration: none; }
}
"""


def hide(checkbox: str, selector: str) -> str:
    """Return the rule by which a checkbox hides elements while it is not checked; no script is needed for it.

    :param checkbox: id of the checkbox
    :param selector: which elements
    """
    return f"body:has(#{checkbox}:not(:checked)) {selector} {{ display: none; }}\n"
