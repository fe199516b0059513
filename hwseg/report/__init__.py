"""What is shown of a build: figures first, then pages that are made of nothing else.

In: plans, timing, resources, an energy estimate.  Out: report.json as a dictionary, and its forms as text.  Read
`figures` first.

figures    `build_report`: what a build costs and how fast it is
energy     an estimate put into the figures
advice     sentences that say what the figures mean
text       report.md, report.csv
html       report.html, timeline.svg; `pages` has its charts, templates and scripts
compare    several builds side by side
"""
