"""The page's style: light and dark as the reader's system has it, one column on a phone."""

STYLE = """
:root{color-scheme:light dark;--ground:#fbfaf8;--card:#fff;--ink:#1d2430;--soft:#5c6675;--line:#dcdfe4;
--bar:#2f6fb3;--ok:#1f7a4d;--absent:#2b6f86;--failed:#b3362b;--blocked:#f0b44999;--offline:#8b7fc799;
--idle:#8a93a033;--code:#f0f2f5}
@media(prefers-color-scheme:dark){:root{--ground:#14181e;--card:#1c222b;--ink:#e6e9ee;--soft:#9aa5b4;--line:#333c49;
--bar:#6cabf0;--ok:#5fcf97;--absent:#6fc3dc;--failed:#ff8a7d;--blocked:#c98a1c88;--offline:#7d70c988;
--idle:#9aa5b42b;--code:#262e39}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0}
h2{font-size:1.1rem;margin:2.5rem 0 .6rem}
header p,figcaption,small,.means,.figures span,.legend,.axis,dd{color:var(--soft)}
header p{margin:.4rem 0 1.5rem}
.state{display:inline-block;font-size:.8rem;font-weight:600;vertical-align:middle;padding:.1rem .6rem;
border:1px solid currentColor;border-radius:1rem;color:var(--soft)}
.state.finished,.state.running{color:var(--ok)}
.state.halted,.state.stalled{color:var(--failed)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem}
.figures div,figure,details,.next div{background:var(--card);border:1px solid var(--line);border-radius:.6rem}
.figures div{padding:.7rem .9rem}
.figures b{display:block;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums}
.figures span{font-size:.85rem}
.ok b{color:var(--ok)}.absent b{color:var(--absent)}.failed b{color:var(--failed)}
figure{margin:1.5rem 0 0;padding:.9rem}
figcaption{margin-bottom:.6rem}figcaption b{color:var(--ink)}
svg{display:block;width:100%;height:11rem;border-bottom:1px solid var(--soft)}
.bar{fill:var(--bar)}
rect.blocked{fill:var(--blocked)}rect.offline{fill:var(--offline)}rect.idle{fill:var(--idle)}
path.death{stroke:var(--failed);stroke-width:2px;stroke-dasharray:3 3;vector-effect:non-scaling-stroke}
.axis{display:flex;justify-content:space-between;font-size:.8rem;margin-top:.3rem;font-variant-numeric:tabular-nums}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.85rem;margin:.7rem 0 0}
.legend i{display:inline-block;width:.9rem;height:.9rem;border-radius:.2rem;margin-right:.4rem;vertical-align:-.1rem}
i.blocked{background:var(--blocked)}i.offline{background:var(--offline)}i.idle{background:var(--idle)}
i.death{background:none;border-left:2px dashed var(--failed);border-radius:0;width:.3rem}
details{margin:.5rem 0;padding:.55rem .9rem}
summary{cursor:pointer}
summary b{display:inline-block;min-width:3.2rem;text-align:right;font-variant-numeric:tabular-nums}
.kind{font-weight:600;margin:0 .4rem}
details p,details ul{margin:.5rem 0 .2rem}
a{color:var(--bar)}
.next,.facts{margin:0}
.next dt,.next dd{min-width:0}
.next div{padding:.6rem .9rem;margin:.5rem 0}
.next dd,.facts dd{margin:0}
code{display:block;overflow-x:auto;white-space:pre;font:.9rem/1.5 ui-monospace,monospace;background:var(--code);
border-radius:.3rem;padding:.15rem .5rem;margin-bottom:.2rem;user-select:all}
.facts div{display:grid;grid-template-columns:11rem 1fr;gap:.2rem 1rem;padding:.4rem 0;
border-top:1px solid var(--line)}
.facts dt{font-weight:600}
.facts p{margin:0}
.wide{overflow-x:auto;margin-top:1rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-top:1px solid var(--line);
overflow-wrap:normal}
th{color:var(--soft);font-weight:600}.n{text-align:right;font-variant-numeric:tabular-nums}
@media(max-width:34rem){.extra{display:none}.facts div{grid-template-columns:1fr}
.means{display:block;margin-left:3.6rem}thead{display:none}
tr{display:block;border-top:1px solid var(--line);padding:.4rem 0}
td{display:inline;border:0;padding:0 .3rem 0 0}td:first-child{font-weight:600}td.n::after{content:" ×,"}
td:nth-child(4)::before{content:"to "}td:last-child{display:block;color:var(--soft)}}
@media print{details{break-inside:avoid}}
""".strip()
