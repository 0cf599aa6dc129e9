"""Report: what people look at: the live line, tables, and one self-contained page."""
