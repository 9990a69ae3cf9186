"""How the page looks: light or dark as the reader's system is, on a phone, a desk or paper."""

from __future__ import annotations

STYLE = """
:root{--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d5d9de;--field:#f3f5f7;--bar:#2f6fb3;--warn:#8a4b00}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e9ec;--soft:#a3acb5;--line:#39414a;--field:#1e2329;
--bar:#6aa9e9;--warn:#e8b46a}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:76rem;color:var(--ink);
background:var(--paper)}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .5rem;overflow-wrap:anywhere}
p{max-width:45rem;margin:.5rem 0;overflow-wrap:anywhere}
a{color:var(--bar)}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;margin:1rem 0;padding:0}
.missing{color:var(--warn);background:var(--field);border-left:3px solid var(--warn);padding:.5rem .75rem}
.figures{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0}
.figures div{background:var(--field);padding:.6rem 1rem;border-radius:6px;max-width:15rem}
.figures dd{margin:0;font-size:1.5rem;font-weight:600;line-height:1.2;font-variant-numeric:tabular-nums}
.figures dt{color:var(--soft);font-size:.85rem}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:1.5rem 2rem}
figure{margin:0;min-width:0}
.plots figcaption{font-weight:600}
.plots p{font-size:.9rem;color:var(--soft)}
.plot{display:block;width:100%;max-width:32rem;height:auto;font:12px system-ui,sans-serif}
.plot text{fill:var(--soft)}
.plot .bar,.plot .dot{fill:var(--bar)}
.plot .curve{fill:none;stroke:var(--bar);stroke-width:1.5}
.plot .grid-line{stroke:var(--line)}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--soft);font-size:.9rem}
table{border-collapse:collapse;font-size:.9rem;margin:.5rem 0;font-variant-numeric:tabular-nums}
td,th{padding:.15rem 1.25rem .15rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}
.short{text-align:right;white-space:nowrap}.short:first-child{text-align:left}
th{font-weight:600;color:var(--soft)}
.made dt{color:var(--soft);font-size:.85rem;margin-top:.6rem}.made dd{margin:0;overflow-wrap:anywhere}
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.25rem,1fr));gap:1rem .75rem}
.samples img,.none{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:var(--field);border-radius:4px}
.none{display:grid;place-items:center;color:var(--soft);font-size:.8rem;text-align:center;padding:.5rem}
.samples figcaption{font-size:.8rem;line-height:1.35;overflow-wrap:anywhere;margin-top:.25rem}
.samples code{display:block;color:var(--soft);font-size:.65rem;overflow-wrap:anywhere}
code{overflow-wrap:anywhere}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--field:#f4f4f4;--bar:#2f6fb3;--warn:#8a4b00}
nav{display:none}body{max-width:none;padding:0}figure,.figures{break-inside:avoid}h2,h3{break-after:avoid}}
"""
