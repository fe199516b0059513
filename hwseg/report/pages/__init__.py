"""Drawings of report.html and compare.html: numbers of a report become positions, the templates beside them pages."""
