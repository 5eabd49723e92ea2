# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the report's page looks: on a screen by day and by night, and on paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ground: #f4f5f7; --ink: #1b2430; --soft: #5b6675; --line: #d9dee5; --accent: #24507d;
  --good: #1f7a4d; --good-soft: #e5f4ec; --warn: #8a5a00; --warn-soft: #fdf1da; --bad: #a5282c; --bad-soft: #fbe7e7;
  --bar: #4a7fb5; --window: #f3c96a; --restore: #7a56b0; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #171c23; --ground: #0f1318; --ink: #e4e9ef; --soft: #9aa6b4; --line: #303945; --accent: #8db8e4;
  --good: #6cc797; --good-soft: #16301f; --warn: #e6b354; --warn-soft: #33270d; --bad: #f08a8d; --bad-soft: #3a1718;
  --bar: #6fa3d6; --window: #6b5518; --restore: #b294e0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
main { max-width: 1040px; margin: 24px auto; padding: 40px; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; overflow-wrap: anywhere; }
h1 { margin: 2px 0 6px; font-size: 30px; line-height: 1.2; }
h2 { margin: 36px 0 12px; padding-bottom: 6px; border-bottom: 2px solid var(--line); font-size: 19px; }
h3 { margin: 20px 0 6px; font-size: 15px; }
p { margin: 6px 0; }
ul, ol { margin: 6px 0; padding-left: 22px; }
.eyebrow { margin: 0; color: var(--soft); font-size: 13px; letter-spacing: .06em; text-transform: uppercase; }
.lead { font-size: 17px; }
header { padding-left: 18px; border-left: 6px solid var(--accent); }
header.good { border-color: var(--good); } header.good h1 { color: var(--good); }
header.warn { border-color: var(--warn); } header.warn h1 { color: var(--warn); }
header.bad { border-color: var(--bad); } header.bad h1 { color: var(--bad); }
dl.facts { display: grid; grid-template-columns: 150px minmax(0, 1fr); gap: 6px 16px; margin: 26px 0 0; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px; margin: 26px 0 0; }
.figures div { padding: 12px 16px; border: 1px solid var(--line); border-radius: 6px; }
.figures strong { display: block; font-size: 22px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: 13px; }
.box { margin: 26px 0 0; padding: 14px 18px; border: 1px solid var(--line); border-left: 5px solid var(--accent);
  border-radius: 4px; }
.box.bad { border-left-color: var(--bad); background: var(--bad-soft); }
.box.warn { border-left-color: var(--warn); background: var(--warn-soft); }
.box h2, .box h3 { margin: 0 0 4px; padding: 0; border: 0; font-size: 15px; }
.box h3 { margin-top: 12px; }
code, .names li { font: .9em ui-monospace, "DejaVu Sans Mono", "Liberation Mono", Consolas, monospace; }
table { width: 100%; border-collapse: collapse; font-size: 14px; }
th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; } th, .tight { white-space: nowrap; }
.number { padding-right: 22px; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.mark { display: inline-block; padding: 0 8px; border-radius: 10px; background: var(--good-soft); color: var(--good);
  font-size: 13px; white-space: nowrap; }
.mark.bad { background: var(--bad-soft); color: var(--bad); }
.mark.warn { background: var(--warn-soft); color: var(--warn); }
.soft { color: var(--soft); font-size: 13px; }
.scrolls { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 700px; height: auto; margin: 10px 0; }
svg text { fill: var(--ink); font: 12px system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
svg .figure { text-anchor: end; } svg .middle { text-anchor: middle; } svg .strong { font-weight: 600; }
svg .small { fill: var(--soft); font-size: 11px; }
svg .rule, svg .tick { stroke: var(--line); stroke-width: 1; } svg .tick { stroke-dasharray: 2 3; }
svg .window { fill: var(--window); opacity: .45; } svg .cut { fill: var(--line); opacity: .55; }
svg .bar { fill: var(--bar); } svg .bar.restore { fill: var(--restore); }
svg .bar.failed, svg .bar.refused { fill: var(--bad); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0; padding: 0; list-style: none; color: var(--soft);
  font-size: 13px; }
.legend svg { display: inline-block; width: 12px; min-width: 0; height: 12px; margin: 0 6px 0 0; vertical-align: -1px; }
.todo { padding: 0; list-style: none; }
.todo li { margin: 0 0 26px; border-bottom: 1px solid var(--line); }
.check { padding: 0; list-style: none; } .check li::before { content: "\\2610"; margin-right: 8px; }
footer { margin-top: 40px; padding-top: 12px; border-top: 1px solid var(--line); color: var(--soft); font-size: 12px; }
@media (max-width: 640px) { main { margin: 0; padding: 20px; border: 0; }
  dl.facts { grid-template-columns: minmax(0, 1fr); gap: 0; } dl.facts dd { margin-bottom: 8px; } }
@page { margin: 16mm 14mm; }
@media print { :root { color-scheme: light;
  --paper: #ffffff; --ground: #ffffff; --ink: #000000; --soft: #4a4a4a; --line: #bdbdbd; --accent: #24507d;
  --good: #14603a; --good-soft: #ffffff; --warn: #6d4700; --warn-soft: #ffffff; --bad: #8e1f23; --bad-soft: #ffffff;
  --bar: #4a7fb5; --window: #f3c96a; --restore: #7a56b0; }
  body { font-size: 10.5pt; } main { max-width: none; margin: 0; padding: 0; border: 0; }
  svg { min-width: 0; } svg, .mark { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .mark { padding: 0; } .scrolls { overflow: visible; }
  h2, h3 { break-after: avoid; } tr, svg, .box, .figures, dl.facts > * { break-inside: avoid; }
  thead { display: table-header-group; } }
"""
